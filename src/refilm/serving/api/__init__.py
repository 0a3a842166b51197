"""The HTTP API of `refilm serve`, in the form that clients of OpenAI's videos speak. It does not make videos."""
