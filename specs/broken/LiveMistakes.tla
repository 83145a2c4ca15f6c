---------------------------- MODULE LiveMistakes ----------------------------
(* The same mistakes, for what happens in the end. *)
EXTENDS Liveness, Mistakes
=============================================================================
