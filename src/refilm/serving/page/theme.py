"""The look of the page: system fonts, one accent color, light and dark."""

from pathlib import Path

import gradio as gr

FOLDER = Path(__file__).parent
CSS, SCRIPT, FAVICON = FOLDER / "page.css", FOLDER / "page.js", FOLDER / "favicon.png"
DESCRIPTION = "Make videos in which the subject of your images follows a prompt, on this machine."
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")  # no font is loaded from another server
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "monospace")
ACCENT, ACCENT_DARK = "#b23c0a", "#ff9a62"


def theme() -> gr.Theme:
    """The theme."""
    base = gr.themes.Base(
        primary_hue="orange", neutral_hue="stone", font=[*FONT], font_mono=[*MONO], radius_size="md", text_size="md"
    )
    return base.set(
        body_background_fill="#faf9f7",
        body_background_fill_dark="#161412",
        background_fill_primary_dark="#1e1b19",
        background_fill_secondary_dark="#1e1b19",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1e1b19",
        block_border_color="#e5e1dc",
        block_border_color_dark="#38332f",
        border_color_primary="#e5e1dc",
        border_color_primary_dark="#38332f",
        body_text_color="#211d1a",
        body_text_color_dark="#f0ece8",
        body_text_color_subdued="#5e5852",
        body_text_color_subdued_dark="#b5ada6",
        block_info_text_color="#5e5852",
        block_info_text_color_dark="#b5ada6",
        block_label_text_color="#3d3833",
        block_label_text_color_dark="#d6cfc8",
        block_title_text_color="#211d1a",
        block_title_text_color_dark="#f0ece8",
        input_background_fill="#ffffff",
        input_background_fill_dark="#161412",
        input_border_width="1px",
        input_border_color="#8c857d",
        input_border_color_dark="#7a726a",
        input_placeholder_color="#6b655f",
        input_placeholder_color_dark="#a39a92",
        color_accent=ACCENT,
        link_text_color=ACCENT,
        link_text_color_dark=ACCENT_DARK,
        button_primary_background_fill=ACCENT,
        button_primary_background_fill_hover="#8f2f06",
        button_primary_background_fill_dark=ACCENT_DARK,
        button_primary_background_fill_hover_dark="#ffb78c",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#211d1a",
        button_secondary_background_fill="#efebe6",
        button_secondary_background_fill_hover="#e3ddd6",
        button_secondary_background_fill_dark="#322d29",
        button_secondary_background_fill_hover_dark="#413a35",
        input_border_color_focus=ACCENT,
        input_border_color_focus_dark=ACCENT_DARK,
        button_large_text_weight="600",
        button_large_text_size="*text_md",
        slider_color=ACCENT,
        slider_color_dark=ACCENT_DARK,
    )


def head() -> str:
    """What the page's head contains besides Gradio's own."""
    script = SCRIPT.read_text(encoding="utf-8")
    return (
        f'<meta name="description" content="{DESCRIPTION}"><meta name="color-scheme" content="light dark">'
        f"<script>{script}</script>"
    )
