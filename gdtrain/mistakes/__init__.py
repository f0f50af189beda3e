"""The commonest mistakes in data and models, explained before they train."""
