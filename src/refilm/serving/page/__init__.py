"""The page of `refilm serve`: create videos, watch them being made, compare them, and train adapters.

It works on the store alone, as the API does, so both show the same videos.
"""

from refilm.serving.page.mounting import mount_page

__all__ = ["mount_page"]
