/* A server, its connections and everything around it. README.md says what is modelled, and how to run it. */

#include "../generated/table.pml"
#include "mistakes.pml"
#include "facts.pml"
#include "connection.pml"
#include "properties.pml"
#include "round.pml"
#include "world.pml"
