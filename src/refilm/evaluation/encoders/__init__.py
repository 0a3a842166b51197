"""Image and text encoders of metrics. None of them is part of a model that refilm runs."""
