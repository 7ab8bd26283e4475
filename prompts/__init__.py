"""The words we send and the words we train on, as templates."""
