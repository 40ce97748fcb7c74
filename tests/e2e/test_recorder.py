"""The recorder counts what a person does, and nothing that the page does itself."""

from __future__ import annotations

import pytest
from recorder import Recorder, Step

PAGE = """data:text/html,<button onclick="sync()">one</button><input><select><option>a<option>b
</select><div style="height: 300px">drawn on</div><script>
    const stop = event => event.stopImmediatePropagation();
    ['pointerdown', 'pointerup', 'keydown'].forEach(name => addEventListener(name, stop, true));
    const sync = () => {
        document.querySelector('input').click();
        document.querySelector('select').value = 'b';
    };
</script>"""


@pytest.fixture
def page(new_profile):
    page = new_profile().new_page()
    yield page
    page.close()


def test_clicks_drags_keys_and_choices_are_counted_by_step(page):
    recorder = Recorder(page)
    page.goto(PAGE)
    page.locator("button").click()  # between steps
    with recorder.step("click"):
        page.locator("button").click()
        page.locator("button").dblclick()
        page.locator("div").click(button="right")
    with recorder.step("draw"):
        page.mouse.move(100, 200)
        page.mouse.down()
        page.mouse.move(140, 220, steps=3)
        page.mouse.up()
    with recorder.step("type"):
        page.locator("input").press_sequentially("abc")
        page.keyboard.press("Shift+Tab")
    with recorder.step("choose"):
        page.locator("select").select_option("b")
    with recorder.step("nothing"):
        pass
    counted = [(one.name, one.clicks, one.drags, one.keys) for one in recorder.steps]
    assert counted == [
        ("click", 4, 0, 0),
        ("draw", 0, 1, 0),
        ("type", 0, 0, 5),
        ("choose", 2, 0, 0),
        ("nothing", 0, 0, 0),
    ]


def test_a_step_goes_on_in_the_next_page_and_has_its_time_when_it_fails(page):
    recorder = Recorder(page)
    page.goto(PAGE)
    with pytest.raises(ValueError, match="gives up"), recorder.step("two pages"):
        page.locator("button").click()
        page.goto(PAGE.replace("one", "two"))
        page.locator("button").click()
        page.wait_for_timeout(120)
        raise ValueError("gives up")
    (step,) = recorder.steps
    assert step.clicks == 2 and step.seconds >= 0.1
    assert Step("two", clicks=1, drags=2, keys=3).actions == 6
