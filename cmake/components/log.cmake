# Events as lines of a log.
set(component_built_on core)
set(component_headers "observability/log.hpp" "observability/detail/event_text.hpp")
