"""How fast the networks are beside the published 3DGAN in Keras, and beside what this machine can do at best."""
