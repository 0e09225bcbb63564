// Package lastcall shuts a program down in order, before the platform kills it.
//
// A program starts its goroutines, servers and closers in a [Group] and gives each a name. The
// first SIGINT or SIGTERM begins a stop, the last call:
//
//   - The group accepts no new work and drains the work that runs.
//   - Work that does not finish in time is interrupted: its context ends.
//   - Work that ignores the interrupt is abandoned: the report names it, with its stack.
//   - The closers run last, after all goroutines that may use what they close.
//
// The whole stop fits in one budget, which is smaller than the grace period that the platform
// allows before it sends SIGKILL.
//
//	func main() { os.Exit(lastcall.Main(lastcall.Config{Grace: 30 * time.Second}, setup)) }
//
//	func setup(ctx context.Context, g *lastcall.Group) error {
//		g.Defer("db", lastcall.CloseFunc(db.Close)) // runs last
//		g.Loop("consumer", consume)                 // runs until last call
//		return g.HTTP("api", &http.Server{Handler: mux}, listener)
//	}
//
// # Three kinds of goroutine
//
//   - [Group.Go] starts work that ends by itself. Its context ends at Interrupt, so it can finish
//     after last call.
//   - [Group.Loop] starts work that runs as long as the program. Its context ends at last call;
//     [UntilInterrupt] returns a context for the current item.
//   - [Group.Background] starts work that a request began and that outlives the request. Its
//     context keeps the request's values, but not its cancellation.
//
// # The order of a stop
//
//  1. Last call. Ready turns false, [LastCall] closes, Loop contexts end.
//  2. Delay. Servers still accept connections and answer "Connection: close", while the
//     platform removes the process from its endpoints.
//  3. Drain. Goroutines finish. The listeners close once everything has returned that was running
//     when the delay ended; then the requests in flight finish.
//  4. Interrupt, when only the reserve is left of the budget. Listeners that are still open close,
//     and contexts end with an [*InterruptError] as their cause. Half the reserve later
//     comes Abandon: the group stops waiting for goroutines that have not returned.
//  5. Close. Servers of [ServeUntilClose] end. Then the closers run in reverse order, each
//     with a deadline.
//  6. Report. It lists what finished, was interrupted or was abandoned, and the exit code.
//
// A second signal interrupts at once. A third ends the process with 128+n.
//
// # Which context ends when
//
//	last call            the context of a Loop, and of setup while it runs; UntilLastCall(ctx)
//	Interrupt            the contexts of Go, Background and HTTP requests; UntilInterrupt(ctx)
//	Abandon              UntilAbandon(ctx)
//	its time in Close    the context of a closer
//
// To write something after Interrupt, use the context of [UntilAbandon]: it is valid for half the
// reserve. [TimeLeft] returns how much of that time is left.
//
// # A goroutine that does not return
//
// Go cannot end a goroutine from outside. The group waits until Abandon for one that ignores its
// context. Then:
//
//   - Report.Abandoned and the log name it, with its age, the line that started it and its stack.
//   - The closers run, although the goroutine may still use what they close.
//   - The exit code is 3.
//
// The goroutine ends with the process. If the program continues after [Group.Wait] on a group made
// by [New], the goroutine continues too.
//
// # Exit codes
//
//	0      everything finished, or recorded by itself what it could not finish
//	1      a failure: an error, a panic, a Loop or server that ended too early
//	3      a goroutine, request, connection or closer was abandoned, or the stop itself hung
//	75     plain work was interrupted, and nothing recorded it
//	128+n  forced by signal n, the third one
//
// Where several apply, the first of 3, 1, 75, 0 counts.
//
// # What it does not do
//
//   - SIGKILL, a power failure and [os.Exit] end a process without a last call. Work that must
//     survive them belongs in a task (package task).
//   - A group does not know goroutines that were started with a plain go statement.
//   - [os.Exit] and log.Fatal, wherever they are called, skip all of the above.
//
// The package uses the standard library only.
package lastcall
