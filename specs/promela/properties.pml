/* What must hold: after each step of the server, and, with fairness, in the end. */

inline check()
{
    k = 0;
    do
    :: k < D ->
        MUST(outbox_follows_state, (c[k].box > 0) == SENDING(c[k].state));
        MUST(outbox_is_bounded, c[k].box <= CAP);
        MUST(bytes_are_conserved, c[k].owed == c[k].box);
        MUST(pressure_is_true, c[k].state == CLOSED || !(c[k].holds & H_BACKPRESSURE) || c[k].box > LOW);
        MUST(fin_follows_the_last_byte, !(c[k].sealed && c[k].state == READING) || c[k].shut);
        MUST(registration_is_interest, c[k].watched == INTEREST(c[k].state, c[k].holds));
        MUST(queues_are_the_open, c[k].known == (c[k].state != CLOSED));
        MUST(closed_has_no_timer, c[k].state != CLOSED || !c[k].armed);
        MUST(no_descriptor_is_lost, c[k].used == (c[k].known || c[k].dying));
        MUST(muted_wants_nothing, !c[k].muted || c[k].watched == I_NOTHING);
        k++
    :: else -> break
    od;
    MUST(limit_is_kept, SUM(KNOWN) <= LIMIT);
    MUST(listener_is_watched_as_its_state_wants, listener_watched == LISTENER_READS(listener));
    MUST(stopped_means_all_is_over, stop != STOPPED || (SUM(USED) == 0 && listener == L_CLOSED))
}

/* In the end, with fairness (see world.pml). Of the descriptor SEEN; the others do as they please. */
#ifdef LIVE
#define SERVED c[SEEN].known
#define SILENT_FOR_GOOD (c[SEEN].known && c[SEEN].mute && c[SEEN].deaf)
#define UNSENT (c[SEEN].box > 0)

/* Who neither sends nor reads any more is closed. */
ltl silent_is_closed { [] (SILENT_FOR_GOOD -> <> !SERVED) }
/* Who takes nothing any more though something is owed is closed, whatever else it sends. */
ltl deaf_is_closed { [] ((SERVED && c[SEEN].deaf && UNSENT && c[SEEN].out == TAKEN) -> <> !SERVED) }
/* What is in an outbox leaves it: the peer reads, or is given up. */
ltl outbox_moves { [] (UNSENT -> <> (took || !UNSENT)) }
/* An exhausted listener listens again, or the server has stopped. */
ltl exhaustion_ends { [] (listener == L_EXHAUSTED -> <> (listener != L_EXHAUSTED)) }
/* A stop ends. */
ltl drain_ends { [] (stop == ASKED -> <> (stop == STOPPED)) }
#endif
