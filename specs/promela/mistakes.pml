/* Mistakes in the design that servers have made. The design has none of them, and none is there unless this is compiled with
 * -DMISTAKES: then `MISTAKE=3 ./pan` makes the third, and one verifier, which takes longer to compile than to run, serves for all.
 */

#ifdef MISTAKES
c_decl {
extern char *getenv(const char *);
extern int atoi(const char *);
static int mistake;
__attribute__((constructor)) static void choose(void) { const char *said = getenv("MISTAKE"); if (said) mistake = atoi(said); }
}
#define MADE(number) c_expr { mistake == number }
#else
#define MADE(number) 0
#endif

#define EOF_IS_NOT_HELD                MADE(1)       /* the end of the stream is noted, and the socket is read again for ever */
#define EOF_ENDS_AT_ONCE               MADE(2)       /* what is still to be sent is thrown away when the peer has ended */
#define NO_LINGERING                   MADE(3)       /* a close with unread input: the kernel's reset overtakes the reply */
#define FIN_IS_FORGOTTEN               MADE(4)       /* a graceful close never says FIN */
#define LINGERS_ON                     MADE(5)       /* after our FIN the peer is read from without end */
#define OUTPUT_STAYS                   MADE(6)       /* what is sent stays in `outputs` */
#define WRITING_IS_NOT_WATCHED         MADE(7)       /* what a partial send left waits for nothing */
#define NO_PRESSURE                    MADE(8)       /* a full outbox does not hold up reading */
#define PRESSURE_STAYS                 MADE(9)       /* ... or does so for ever */
#define SENDS_AGAIN                    MADE(10)      /* the first unit of a partial send stays in the outbox */
#define FORGETS_THE_REST               MADE(11)      /* what a partial send did not take is dropped */
#define TAKES_THE_LAST_FIRST           MADE(12)      /* the outbox is a stack */
#define CLOSES_AT_ONCE                 MADE(13)      /* sockets are closed where that is asked for, and new ones accepted in between */
#define CLOSES_TWICE                   MADE(14)      /* a close that is asked for twice is performed twice */
#define SERVES_THE_CLOSED              MADE(15)      /* a connection that closed in this round is served all the same */
#define SERVES_ONLY_THE_FIRST          MADE(16)      /* one connection a round, the first */
#define TIMER_STAYS                    MADE(17)      /* a closed connection stays in the calendar */
#define HANGUP_IS_IGNORED              MADE(18)      /* a death that is reported while nothing is watched is ignored, in every round */
#define EXHAUSTED_IS_WATCHED           MADE(19)      /* the listener is reported and accept fails, in every round */
#define ROOM_FOR_ONE_MORE              MADE(20)      /* the limit is off by one */
#define FULL_IS_NOT_RELIEVED           MADE(21)      /* nobody listens again when a connection has closed */
#define NO_BACKOFF                     MADE(22)      /* an exhausted listener waits for a close that never comes */
#define STALL_IS_RENEWED_BY_RECEIVING  MADE(23)      /* a peer that sends and never reads is kept for ever */
#define NO_DEADLINE_AT_ACCEPT          MADE(24)      /* a peer that says nothing at all is kept for ever */
#define LINGERING_IS_FOR_EVER          MADE(25)      /* after our FIN the peer's is waited for without end */
#define HALF_CLOSED_IS_FOR_EVER        MADE(26)      /* so is a connection that the application keeps half open */
#define DRAINS_FOR_EVER                MADE(27)      /* a stop waits without end for its slowest client */
#define STOP_ACCEPTS                   MADE(28)      /* a stop leaves the listener open */
