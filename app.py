"""Entry point: page setup, navigation and the context bar.

`streamlit run app.py` reads this file twice: imported as a module, for the web server, and run as the script of
every visit.
"""

import streamlit as st

from core.errors import WinnowError
from pages.ui.shell import address, context, jobs, server, show, sign_in, visit, widgets

if __name__ == "__main__":
    st.set_page_config("Winnow", show.ICON, layout="wide", initial_sidebar_state=230)
    st.logo(show.LOGO, size="large", icon_image=show.ICON)
    page = st.navigation([st.Page(**about) for about in show.PAGES.values()])
    try:
        sign_in.require()
        visit.init()
    except WinnowError as error:
        show.error(error)
        st.stop()
    widgets.set_page(page.url_path)
    address.restore_address()
    context.bar(page.url_path)
    notices = st.container()
    with notices:
        show.warning(widgets.take_notice())
    visit.view_strip()
    jobs.strip(page.url_path)
    page.run()
    with notices:
        show.warning(widgets.take_notice())  # on what the page found in a link
else:
    sign_in.check()
    app = st.App(__file__, **server.app_options())
