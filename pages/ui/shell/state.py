"""What the user has open, collected for the pages from the modules that access `st.session_state` and the address bar.

Three lifetimes:
  on disk    pools, runs, jobs; per pool the current settings (`settings`) and the saved selections (`saved_files`)
  address    pool, method, budget and the hash of all other settings (`links`), and what the page shows
             (`view_choices`): a link opens the same view (`visit`)
  session    the open pool (`current`), undo and redo steps (`changes`), values of widgets (`widgets`)
"""

from pages.ui.shell.changes import (
    add_pin,
    add_pins,
    change,
    clear_highlight,
    negate_term,
    pick,
    previous_settings,
    redo,
    redo_words,
    remove_pin,
    remove_term,
    replace_term,
    set_param,
    set_params,
    undo,
    undo_words,
)
from pages.ui.shell.current import (
    budget,
    extra_methods,
    find_open_pool,
    is_open,
    is_set_up,
    method,
    method_of,
    need_pool,
    need_run,
    open_pool,
    recipe,
    run,
)
from pages.ui.shell.open_row import find_open, list_rows, open_row
from pages.ui.shell.saved import delete_saved, load_saved, rename_saved, save_as
from pages.ui.shell.saved_files import saved_name, saved_selections
from pages.ui.shell.settings import POOL, SETTINGS, Contender, Settings, settings
from pages.ui.shell.tags import add_tag, delete_tag, remove_tag, rename_tag, tags_of
from pages.ui.shell.used_rows import describe_used, load_used, store_used
from pages.ui.shell.view_choices import view_choice
from pages.ui.shell.widgets import bind, failures_as_notices, leave_notice, session_value, set_widget, widget_value
