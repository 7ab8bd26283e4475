"""The only room that talks to model servers."""
