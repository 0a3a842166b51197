"""Model families: each package contains what only one family has."""
