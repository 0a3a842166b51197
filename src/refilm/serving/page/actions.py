"""HTML whose buttons are events: a button with data-action and data-key is a click event with both."""

import gradio as gr

ON_LOAD = """element.addEventListener('click', event => {
  const button = event.target.closest('[data-action]');
  if (button) trigger('click', {action: button.dataset.action, key: button.dataset.key, label: button.textContent});
});"""


def actions(value: str = "", *, elem_id: str) -> gr.HTML:
    """HTML with such buttons."""
    return gr.HTML(value, js_on_load=ON_LOAD, elem_id=elem_id)
