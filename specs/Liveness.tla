------------------------------ MODULE Liveness ------------------------------
(***************************************************************************)
(* What happens in the end, if the world is fair: rounds go on and time    *)
(* passes, a spell without descriptors ends, and who is said to read goes  *)
(* on reading.                                                             *)
(*                                                                         *)
(* A round and the passing of time are possible at any moment, so weakly   *)
(* fair means again and again, and that is said of a pendulum: it swings   *)
(* with each, and never rests on one side.  The usual WF_vars(Round) would *)
(* have TLC ask of each state whether the round in it changes something,   *)
(* which takes it half a minute a state.                                   *)
(***************************************************************************)
EXTENDS Properties

VARIABLE pendulum

liveVars == <<conn, registry, listener, server, pendulum>>

Rest == pendulum' = pendulum
Swing == pendulum' = 1 - pendulum

LiveInit == Init /\ pendulum = 0

Swings == []<>(pendulum = 0 \/ ~Runs) /\ []<>(pendulum = 1 \/ ~Runs)

SpellsEnd == []<>~listener.short
ReadersRead == \A p \in PromptReaders : []<>(conn[p].sendq = 0)

ATick == TimePasses /\ Swing
ARound == Round /\ Rest
AMove == WorldMoves /\ Rest

Live == LiveInit /\ [][ATick \/ ARound \/ AMove]_liveVars /\ Swings /\ SpellsEnd

(* Time waits for who reads, so it need not go on for ever, but rounds do. *)
ARoundOrTick == (Round \/ TimePasses) /\ Swing

LiveWithReaders == LiveInit /\ [][ARoundOrTick \/ AMove]_liveVars /\ Swings /\ ReadersRead

-----------------------------------------------------------------------------
HasEnded(p) == conn[p].fin \/ conn[p].rst \/ conn[p].gone

(* 8 *)
EndedIsClosed == \A p \in Peers : (IsServed(conn[p]) /\ HasEnded(p)) ~> ~IsServed(conn[p])

(* For peers that do nothing but connect, or nothing but send, or nothing that makes room. *)
SilentIsClosed == \A p \in Peers : IsServed(conn[p]) ~> ~IsServed(conn[p])

(* Where a peer sends so much and no more: else there might always be something new to send. *)
OutboxIsSent == \A p \in PromptReaders : conn[p].outbox > 0 ~> conn[p].outbox = 0

IsDown == listener.state \in {"full", "exhausted"}
ListensAgain == IsDown ~> ~IsDown

(* A full listener may be full for as long as its clients stay; an exhausted one has no such excuse. *)
ExhaustionEnds == listener.state = "exhausted" ~> listener.state # "exhausted"

WaitingIsAccepted == \A p \in Peers : conn[p].place = "waiting" ~> conn[p].place # "waiting"

DrainEnds == server.state = "asked" ~> server.state = "stopped"
=============================================================================
