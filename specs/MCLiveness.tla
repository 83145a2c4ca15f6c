----------------------------- MODULE MCLiveness -----------------------------
(* Bounds for the checker, and nothing else: those of MCScheduler, here too. *)
EXTENDS Liveness, MCScheduler
=============================================================================
