"""refilm puts the subject of a picture into a video that follows a prompt."""
