------------------------------ MODULE Mistakes ------------------------------
(***************************************************************************)
(* Mistakes in the design, each a wrong operator in the place of a right   *)
(* one.  The .cfg file of its name puts it there and says which property   *)
(* must be violated.  Most are taken from servers that had them.           *)
(***************************************************************************)
EXTENDS MCScheduler

(* The tutorial's: a FIN is noted, and the socket, which stays readable, is read again for ever. *)
EofIsNotHeld(c) == Fire(c, "eof")

(* What is still to be sent is thrown away when the peer has ended. *)
EofEndsAtOnce(c) == Fire(Hold(Fire(c, "eof"), "eof"), "finish")

(* A graceful close does not wait for the peer's FIN: with input unread, close sends a reset, which overtakes the reply. *)
FinishesWithoutLingering(c) == IF c.state = "reading" /\ HasHold(c, "finishing") THEN Fire(c, "finish") ELSE c

FinIsForgotten(w, p) ==
    [w EXCEPT !.registry.watched = Watch(@, w.conn[p].fd, Wanted(w.conn[p])), !.registry.armed = @ \cup {p}]

(* After our FIN the peer is read from without end. *)
LingersOn(c) == [c EXCEPT !.lingered = @ + 1]

-----------------------------------------------------------------------------

BackpressureStays(c) == c.holds

ReadsUnderPressure(c) == Reads(c.state, Without(c.holds, "backpressure"))

PartialSendForgetsTheRest(c, units) ==
    Drained([c EXCEPT !.outbox = 0, !.age = 0, !.count = Counted(@, "taken", units), !.holds = Without(@, "backpressure")])

PartialSendIsRepeated(c, units) ==
    LET taken == [c EXCEPT !.age = IF units > 0 THEN 0 ELSE @, !.count = Counted(@, "taken", units)]
        all == [taken EXCEPT !.outbox = 0, !.holds = Without(@, "backpressure")]
    IN IF units = c.outbox THEN Drained(all) ELSE taken

(* Who has something queued is not watched for writing until it was offered once; with replies that wait this is never. *)
WritesOnlyOnceOffered(c) == c.state = "writing"

-----------------------------------------------------------------------------

(* The output registration is left behind. *)
OutputStays(watched, fd, interest) ==
    [watched EXCEPT ![fd] = IF @ \in {2, 3} /\ interest < 2 THEN interest + 2 ELSE interest]

TimerStays(registry_, p, fd) == [registry_ EXCEPT !.watched[fd] = Nowhere, !.links[fd] = Nobody]

FollowsTheDead(w, p) == IF w.conn[p].state = "closed" THEN Retire(w, p) ELSE Adapt(w, p)

(* What has no interest has no ear either: its peer's reset goes unheard. *)
DeathIsMuted(w, p, report) == [w EXCEPT !.registry.watched[w.conn[p].fd] = Muted]

HangupIsIgnored(w, p, report) == IF report.err THEN Put(w, p, Fire(w.conn[p], "reset")) ELSE w

(* One firehose starves the rest. *)
OnlyTheFirstIsServed(w) ==
    [fd \in Descriptors |-> IF \E lower \in 1..(fd - 1) : IsReport(Report(w, lower)) THEN NoReport ELSE Report(w, fd)]

-----------------------------------------------------------------------------

(* Closes are performed where they are asked for: a descriptor is used again while its report is still to be delivered. *)
ClosesAtOnce(w) ==
    LET settled == SettleFrom(w, 1)
        buried == PerformCloses(RunDue(settled))
        accepted == IF IsHeard(settled) THEN Accept(buried, AcceptsPerRound) ELSE buried
    IN StopIfDrained(PerformCloses(ServeFrom(accepted, Reports(settled), 1)))

(* Deadlines are looked at before the sockets: who has spoken is given up as silent. *)
TimersBeforeSockets(w) ==
    LET settled == SettleFrom(w, 1)
        served == ServeFrom(RunDue(settled), Reports(settled), 1)
        accepted == IF IsHeard(settled) THEN Accept(served, AcceptsPerRound) ELSE served
    IN StopIfDrained(PerformCloses(accepted))

AdmittedWithoutDeadline(w, p) ==
    LET fd == FreeDescriptor(w)
        c == Opened(w.conn[p], fd)
    IN [w EXCEPT !.conn[p] = c, !.registry.open[fd] = p, !.registry.links[fd] = p, !.registry.watched[fd] = Wanted(c)]

StallIsForEver(c) == c.state \notin Sending /\ c.age >= Ticks[LimitOf(c)]

HalfClosedIsForEver(c) == LimitOf(c) # "half_closed_s" /\ c.age >= Ticks[LimitOf(c)]

LingeringIsForEver(c) == LimitOf(c) # "linger_s" /\ c.age >= Ticks[LimitOf(c)]

-----------------------------------------------------------------------------

(* EMFILE: nothing is done about it, and the listener stays readable. *)
ExhaustionSpins(w) == w

ExhaustionClosesTheListener(w) == FireListener(w, "close")

ExhaustedWithoutBackoff(w) == FireListener(w, "exhaust")

FullIsNotRelieved(w) ==
    LET buried == IF w.closing = {} THEN w ELSE Bury(w) IN IF w.listener.state = "closed" THEN TurnAway(buried) ELSE buried

RoomForOneMore(w) == 1

(* A stop waits for a client that goes on talking. *)
DrainsForEver(w) == CloseQuietFrom(w, 1)

(* A stop closes the listener and leaves its connections as they are. *)
StopForgetsTheListener(w) == [w EXCEPT !.server = [state |-> "draining", left |-> DrainTicks]]
=============================================================================
