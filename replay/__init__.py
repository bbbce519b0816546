"""An archive judged again by a model, on this machine or on a cluster; nothing in the archive is changed."""
