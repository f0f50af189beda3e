"""Each private name of Keras that is used, one file an area.

Read in Keras 3.15. Each docstring says what breaks if the name goes;
`tests/keras_bridge` fails with that name. `patches` changes Keras itself.
"""
