/* Mistakes in the design that servers have made, each a switch: -DNO_LINGERING=1. The design has none of them. */

#ifndef EOF_IS_NOT_HELD
#define EOF_IS_NOT_HELD 0           /* the end of the stream is noted, and the socket is read again for ever */
#endif
#ifndef EOF_ENDS_AT_ONCE
#define EOF_ENDS_AT_ONCE 0          /* what is still to be sent is thrown away when the peer has ended */
#endif
#ifndef NO_LINGERING
#define NO_LINGERING 0              /* a close with unread input: the kernel's reset overtakes the reply */
#endif
#ifndef FIN_IS_FORGOTTEN
#define FIN_IS_FORGOTTEN 0          /* a graceful close never says FIN */
#endif
#ifndef LINGERS_ON
#define LINGERS_ON 0                /* after our FIN the peer is read from without end */
#endif
#ifndef OUTPUT_STAYS
#define OUTPUT_STAYS 0              /* what is sent stays in `outputs` */
#endif
#ifndef WRITING_IS_NOT_WATCHED
#define WRITING_IS_NOT_WATCHED 0    /* what a partial send left waits for nothing */
#endif
#ifndef NO_PRESSURE
#define NO_PRESSURE 0               /* a full outbox does not hold up reading */
#endif
#ifndef PRESSURE_STAYS
#define PRESSURE_STAYS 0            /* ... or does so for ever */
#endif
#ifndef SENDS_AGAIN
#define SENDS_AGAIN 0               /* the first unit of a partial send stays in the outbox */
#endif
#ifndef FORGETS_THE_REST
#define FORGETS_THE_REST 0          /* what a partial send did not take is dropped */
#endif
#ifndef TAKES_THE_LAST_FIRST
#define TAKES_THE_LAST_FIRST 0      /* the outbox is a stack */
#endif
#ifndef CLOSES_AT_ONCE
#define CLOSES_AT_ONCE 0            /* sockets are closed where that is asked for, and new ones accepted in between */
#endif
#ifndef CLOSES_TWICE
#define CLOSES_TWICE 0              /* a close that is asked for twice is performed twice */
#endif
#ifndef SERVES_THE_CLOSED
#define SERVES_THE_CLOSED 0         /* a connection that closed in this round is served all the same */
#endif
#ifndef SERVES_ONLY_THE_FIRST
#define SERVES_ONLY_THE_FIRST 0     /* one connection a round, the first */
#endif
#ifndef TIMER_STAYS
#define TIMER_STAYS 0               /* a closed connection stays in the calendar */
#endif
#ifndef HANGUP_IS_IGNORED
#define HANGUP_IS_IGNORED 0         /* a death that is reported while nothing is watched is ignored, in every round */
#endif
#ifndef EXHAUSTED_IS_WATCHED
#define EXHAUSTED_IS_WATCHED 0      /* the listener is reported and accept fails, in every round */
#endif
#ifndef ROOM_FOR_ONE_MORE
#define ROOM_FOR_ONE_MORE 0         /* the limit is off by one */
#endif
#ifndef FULL_IS_NOT_RELIEVED
#define FULL_IS_NOT_RELIEVED 0      /* nobody listens again when a connection has closed */
#endif
#ifndef NO_BACKOFF
#define NO_BACKOFF 0                /* an exhausted listener waits for a close that never comes */
#endif
#ifndef STALL_IS_RENEWED_BY_RECEIVING
#define STALL_IS_RENEWED_BY_RECEIVING 0  /* a peer that sends and never reads is kept for ever */
#endif
#ifndef NO_DEADLINE_AT_ACCEPT
#define NO_DEADLINE_AT_ACCEPT 0     /* a peer that says nothing at all is kept for ever */
#endif
#ifndef LINGERING_IS_FOR_EVER
#define LINGERING_IS_FOR_EVER 0     /* after our FIN the peer's is waited for without end */
#endif
#ifndef HALF_CLOSED_IS_FOR_EVER
#define HALF_CLOSED_IS_FOR_EVER 0   /* so is a connection that the application keeps half open */
#endif
#ifndef DRAINS_FOR_EVER
#define DRAINS_FOR_EVER 0           /* a stop waits without end for its slowest client */
#endif
#ifndef STOP_ACCEPTS
#define STOP_ACCEPTS 0              /* a stop leaves the listener open */
#endif
