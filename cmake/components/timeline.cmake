# Who held which lock when, as a picture.
set(component_built_on log)
set(component_headers "observability/timeline.hpp")
