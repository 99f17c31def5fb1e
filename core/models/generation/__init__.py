"""Generation: K sampled answers per prompt, and greedy continuations.

answers             Defines sampling settings and the columns of answers, and counts unusable ones.
sampler             Samples answers from a local model.
top_p               Samples one token per row from the nucleus, reproducibly.
greedy              Continues prompts greedily and measures the model's confidence.
server              Requests answers from an OpenAI-compatible server.
request_limit       Sizes the number of concurrent requests to the server.
openai_client       Sends JSON requests to one server, with retries.
addresses           Checks addresses: which servers may be asked, and which are sent the key.
"""
