---------------------------- MODULE MCConnection ----------------------------
(* Bounds for the checker, and nothing else. *)
EXTENDS Connection

=============================================================================
