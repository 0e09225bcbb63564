// Package lastcall stops goroutines properly.
//
// A program starts its goroutines, servers and closers in a [Group] and gives
// them names. On the first SIGINT or SIGTERM the group makes a last call: no
// new work is taken, what runs is drained, what does not end in time is
// interrupted, what ignores that is abandoned by name, and the closers run
// after everyone who uses them. All of it fits in one budget, which is smaller
// than the grace that the platform gives before it sends SIGKILL.
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
// [Group.Go] is finite work: its context ends at Interrupt, so a last call lets
// it finish. [Group.Loop] runs for as long as the program: its context ends at
// last call, and [UntilInterrupt] gives it a context for the item in hand.
// [Group.Background] is work born from a request that outlives the request: it
// keeps the request's values and not its cancellation.
//
// # The order of a stop
//
//  1. Last call. Ready turns false, [LastCall] closes, Loop contexts end.
//  2. Delay. Servers go on accepting and answer "Connection: close", while the
//     platform takes the process out of its endpoints.
//  3. Drain. Goroutines finish. The listeners close when nothing runs any more
//     that ran when the delay ended, and requests in flight finish.
//  4. Interrupt, when the budget minus the reserve is used up: the listeners close at the latest,
//     and contexts end with an [*InterruptError] as their cause. Half the reserve later comes
//     Abandon: the group waits no longer for goroutines that have not returned.
//  5. Close. Servers of [ServeUntilClose] end, and the closers run in reverse
//     order, each bounded.
//  6. Report. Who finished, was interrupted, was abandoned; the exit code.
//
// A second signal interrupts at once. A third ends the process with 128+n.
//
// # Which context ends when
//
//	last call            the context of a Loop, and of setup while it runs; UntilLastCall(ctx)
//	Interrupt            those of Go, Background and HTTP requests; UntilInterrupt(ctx)
//	Abandon              UntilAbandon(ctx)
//	its time in Close    the context of a closer
//
// After the interrupt the context to write with is therefore [UntilAbandon]: it
// is good for half the reserve, and [TimeLeft] says how much of that is left.
//
// # A goroutine that does not return
//
// Nothing can end a goroutine from outside. One that ignores its context is
// waited for until Abandon. Then it is named in Report.Abandoned and in the log,
// with its age, the line that started it and its stack; the closers run although
// it may still use what they close; and the exit code is 3. It is gone when the
// process exits. In a program that goes on after the Wait of a group made by
// [New], it goes on too.
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
// SIGKILL, a power cut and os.Exit end a process without a last call; work that
// must survive those belongs in a task (package task). Goroutines started with a
// plain go statement are unknown to the group. After os.Exit or log.Fatal,
// anywhere, nothing of this happens.
//
// The package uses the standard library only.
package lastcall
