"""Pages as a browser without scripts uses them."""

import contextlib
from html.parser import HTMLParser

from tests.people import PASSWORD, added, browser


class Forms(HTMLParser):
    """The forms of a page: where each posts to, and what stands in its fields."""

    def __init__(self, page):
        super().__init__()
        self.actions = []
        self.fields = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.actions.append(given["action"])
            self.fields.append({})
        elif tag == "input" and given.get("type") != "checkbox":
            self.fields[-1][given["name"]] = given.get("value", "")

    def action(self, part):
        """The address of the form that has `part` in it."""
        (found,) = [action for action in self.actions if part in action]
        return found


@contextlib.contextmanager
def at_the_pages(server, name):
    """A browser in which somebody is logged in."""
    with browser(server) as http:
        assert enter(http, added(server, name)).status_code == 303
        yield http


def enter(http, name, password=PASSWORD, next_page="/"):
    """Open the login and send its form, as a browser does."""
    page = http.get("/login", params={"next": next_page})
    (action,) = Forms(page.text).actions
    return http.post(action, data={"name": name, "password": password})
