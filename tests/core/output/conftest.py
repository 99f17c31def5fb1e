"""The measured demo pool of the tests of proofs."""

from tests.core.proof.conftest import demo

__all__ = ["demo"]
