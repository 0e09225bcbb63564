package checker_test

import (
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

func handoverWays() []broken {
	// notRecorded repeats a step that was handed over, and changes the store's record of that run.
	notRecorded := func(change func(*book, *history.Run)) func(*book) {
		return func(b *book) {
			b.cut(of(31, 99))
			b.run(3, 31, "p4", 0, 3, history.Finished)
			change(b, &b.rec(3).Runs[0])
		}
	}
	return []broken{
		{"a handed over step is done again", "handover", func(b *book) {
			b.cut(of(31, 99))
			b.run(3, 31, "p4", 0, 3, history.Finished)
		}},
		{"the process died before it was recorded", "", notRecorded(func(b *book, r *history.Run) {
			r.Reclaimed, r.Ended = true, b.end(3)
		})},
		{"its handler was given up", "", notRecorded(func(_ *book, r *history.Run) { r.Reason = "deadline" })},
		{"it counts as a crash", "crashes", notRecorded(func(b *book, r *history.Run) {
			r.Crashed = true
			b.rec(3).Interruptions, b.rec(3).Crashes = 0, 1
		})},
		{"it was put off", "", notRecorded(func(b *book, r *history.Run) {
			r.Status, r.Reason = "queued", ""
			b.rec(3).Interruptions = 0
		})},
	}
}

func crashesWays() []broken {
	return []broken{
		{"a process that lives", "crashes", func(b *book) {
			r := &b.rec(9).Runs[0]
			r.Status, r.Crashed = "interrupted", true
			b.rec(9).Attempts, b.rec(9).Crashes = 0, 1
		}},
		{"a process that has ended well", "crashes", func(b *book) {
			b.rec(3).Runs[0].Crashed = true
			b.rec(3).Interruptions, b.rec(3).Crashes = 0, 1
		}},
		{"a process that was stopped for a moment", "crashes", func(b *book) {
			i := slices.IndexFunc(b.Events, of(90, history.Begun))
			stop := history.Event{N: b.Events[i].N, At: b.Events[i].At, Process: &history.Process{Name: "p4", PID: 4, What: history.Stopped}}
			on := stop
			on.At, on.Process = stop.At.Add(time.Second), &history.Process{Name: "p4", PID: 4, What: history.Continued}
			b.Events = slices.Insert(b.Events, i, stop, on)
			r := &b.rec(9).Runs[0]
			r.Status, r.Crashed = "interrupted", true
			b.rec(9).Attempts, b.rec(9).Crashes = 0, 1
		}},
		{"a process that nobody knows", "crashes stale", func(b *book) {
			r := &b.rec(2).Runs[0]
			b.cut(of(20, 99))
			b.run(2, 20, "p9", 0, 2, 0)
			r.PID, r.Reclaimed = 99, false
			b.cut(of(21, 99))
			b.run(2, 21, "p4", 2, 4, history.Finished)
		}},
		{"a neighbour of a suspect", "crashes", func(b *book) {
			b.rec(11).Runs[0].Crashed = true
			b.rec(11).Interruptions, b.rec(11).Crashes = 0, 1
		}},
		{"one of two suspects", "crashes", func(b *book) { b.suspectBeside() }},
		{"both suspects", "crashes", func(b *book) {
			b.suspectBeside()
			b.rec(11).Runs[2].Crashed = true
			b.rec(11).Interruptions, b.rec(11).Crashes = 0, 3
		}},
		{"none of two suspects, of which one then ends for no reason", "ended", func(b *book) {
			b.suspectBeside()
			r := b.rec(10)
			r.Runs[2].Crashed, r.Crashes, r.Interruptions = false, 2, 1
			r.Runs[2].Status, r.Error = "interrupted", ""
			b.becomes(10, "cancelled")
		}},
		{"a neighbour in a process that was stopped", "", func(b *book) {
			b.rec(11).Runs[0].Crashed = true
			b.rec(11).Interruptions, b.rec(11).Crashes = 0, 1
			b.process(history.Process{Name: "p7", PID: 7, What: history.Stopped})
			b.process(history.Process{Name: "p7", PID: 7, What: history.Continued})
		}},
		{"a neighbour while nobody is suspected", "", func(b *book) {
			b.rec(11).Runs[0].Crashed = true
			b.rec(11).Interruptions, b.rec(11).Crashes = 0, 1
			b.plan(10, func(p *history.Plan) { p.Save = true })
		}},
		{"a healthy task fails for its crashes", "crashes ended", func(b *book) {
			b.cut(of(21, 99))
			b.becomes(2, "failed")
			r := b.rec(2)
			r.Runs = r.Runs[:1]
			r.Runs[0].Status = "failed"
		}},
	}
}

// suspectBeside makes task 11 a victim of task 10's crashes too, so that both are suspects when p7
// dies.
func (b *book) suspectBeside() {
	runs := slices.Clone(b.rec(10).Runs[:2])
	for i := range runs {
		runs[i].Run = int64(108 + i)
	}
	r := b.rec(11)
	r.Runs, r.Crashes = append(runs, r.Runs...), 2
}

// reused adds a live process with the number of p2, which was killed, and a task with a run of that
// number. The run never began, and was taken away some time after the events of a task.
func reused(after int64, change func(*history.Run)) func(*book) {
	return func(b *book) {
		b.process(history.Process{Name: "p16", PID: 2, What: history.Started})
		b.enqueue(history.Plan{Seq: 15, Steps: 1})
		b.run(15, 151, "p4", 0, 1, history.Finished)
		at := b.Events[slices.IndexFunc(b.Events, of(after, 0))].At
		b.record(15, history.Task{Status: "succeeded", Interruptions: 1},
			history.Run{Run: 150, PID: 2, Status: "interrupted", Reason: "lost", Started: at, Reclaimed: true}, ok(151))
		r := &b.rec(15).Runs[0]
		r.PID, r.Ended = 2, b.end(2).Add(10*time.Millisecond)
		change(r)
	}
}

func aliveWays() []broken {
	// cut turns the stop of p8 into a fault that cuts off. Its victims are only named at its end.
	cut := func(victims ...string) func(*book) {
		return func(b *book) {
			b.cut(what("p8", history.Stopped))
			b.cut(what("p8", history.Continued))
			for _, e := range b.Events {
				if e.Fault == nil || e.Fault.ID != 2 {
					continue
				}
				if e.Fault.Victims = victims; !e.Fault.Over {
					e.Fault.Cut, e.Fault.Victims = true, []string{"p4"}
				}
			}
		}
	}
	return []broken{
		{"a process whose number another one has now", "", reused(20, func(*history.Run) {})},
		{"a process that has the number of another one", "alive overlap", reused(151, func(r *history.Run) { r.Ended = r.Started.Add(time.Second) })},
		{"a process that came when others were cut off", "", cut("p4", "p8")},
		{"a process other than those that were cut off", "alive overlap", cut("p4", "p3")},
		{"a run of a process that lives", "alive", func(b *book) {
			r := &b.rec(9).Runs[0]
			r.Status, r.Reclaimed = "interrupted", true
			b.rec(9).Attempts, b.rec(9).Interruptions = 0, 1
		}},
		{"a process that dies later", "alive crashes", func(b *book) {
			b.rec(2).Runs[0].Ended = b.end(2).Add(-2 * margin)
		}},
		{"a process that was stopped too late", "alive", func(b *book) {
			i := slices.IndexFunc(b.Events, what("p8", history.Stopped))
			b.rec(12).Runs[0].Ended = b.Events[i].At.Add(lease - 3*margin)
		}},
		{"stopped and then cut off", "", func(b *book) {
			i, k := slices.IndexFunc(b.Events, what("p8", history.Stopped)), slices.IndexFunc(b.Events, what("p8", history.Continued))
			half := b.Events[i].At.Add(lease / 2)
			b.Events[k].At = half
			b.Events = slices.Insert(b.Events, i+1, history.Event{N: b.Events[i].N, At: half, Fault: &history.Fault{ID: 3, Kind: "black-hole", Cut: true, Victims: []string{"p8"}}})
		}},
	}
}

func countersWays() []broken {
	return []broken{
		{"a count is too high", "counters", func(b *book) { b.State.Counts["succeeded"]++ }},
		{"a count of what is not there", "counters", func(b *book) { b.State.Counts["running"]++ }},
		{"a count is missing", "counters", func(b *book) { delete(b.State.Counts, "cancelled") }},
		{"a crash too many", "counters", func(b *book) { b.rec(2).Crashes++ }},
		{"a crash too few", "counters", func(b *book) { b.rec(2).Crashes = 0 }},
		{"an interruption too many", "counters", func(b *book) { b.rec(3).Interruptions++ }},
		{"an interruption too few", "counters", func(b *book) { b.rec(3).Interruptions = 0 }},
		{"an attempt too many", "counters", func(b *book) { b.rec(9).Attempts++ }},
		{"an attempt too few", "counters", func(b *book) { b.rec(9).Attempts = 0 }},
		{"a run that is refused for no reason", "counters overlap", (*book).outlives},
		{"an attempt of a healthy task", "counters", func(b *book) { b.plan(9, func(p *history.Plan) { p.Fail = 0 }) }},
	}
}

func residueWays() []broken {
	return []broken{
		{"rows", "residue", func(b *book) { b.State.Residue = map[string]int64{"keys": 2} }},
		{"a lock file", "residue", func(b *book) { b.State.Left = []string{"worker.lock"} }},
		{"a child that outlives its run", "residue", func(b *book) {
			b.process(history.Process{Name: "p4", What: history.Outlived, Left: "process 77 of run 10", Lasted: margin + time.Millisecond})
		}},
		{"a child that outlives its run by a moment", "", func(b *book) {
			b.process(history.Process{Name: "p4", What: history.Outlived, Left: "process 77 of run 10", Lasted: margin})
		}},
		{"goroutines", "residue", func(b *book) {
			b.Events[slices.IndexFunc(b.Events, what("p3", history.Ended))].Process.Left = "7 goroutines"
		}},
	}
}

// endsAfterShortFault starts a process during a fault that is shorter than the margin. The process
// ends after the fault.
func endsAfterShortFault(b *book) {
	soon := func() { b.now = b.now.Add(100*time.Millisecond - time.Second) }
	b.event(history.Event{Fault: &history.Fault{ID: 5, Kind: "restart"}})
	soon()
	b.start("p9")
	soon()
	b.process(history.Process{Name: "p9", PID: 9, What: history.Ready})
	soon()
	b.event(history.Event{Fault: &history.Fault{ID: 5, Kind: "restart", Over: true}})
	soon()
	b.ended("p9", "SIGABRT")
}

func graceWays() []broken {
	later := func(b *book) {
		b.Events[slices.IndexFunc(b.Events, what("p3", history.Ended))].At = b.now
	}
	return []broken{
		{"it ends too late", "grace", later},
		{"it ends a little late", "", func(b *book) {
			b.Events[slices.IndexFunc(b.Events, what("p3", history.Signalled))].Process.Grace = margin / 2
		}},
		{"it was stopped before", "grace", func(b *book) {
			later(b)
			b.Events = slices.Insert(b.Events, 9,
				history.Event{N: 1, At: b.Events[0].At, Process: &history.Process{Name: "p3", PID: 3, What: history.Stopped}},
				history.Event{N: 1, At: b.Events[0].At, Process: &history.Process{Name: "p3", PID: 3, What: history.Continued}})
		}},
		{"it never ends", "grace", func(b *book) { b.cut(what("p3", history.Ended)) }},
		{"it is stopped meanwhile", "", func(b *book) {
			later(b)
			i := slices.IndexFunc(b.Events, what("p3", history.Signalled))
			b.Events = slices.Insert(b.Events, i+1, history.Event{N: b.Events[i].N, At: b.Events[i].At, Process: &history.Process{Name: "p3", PID: 3, What: history.Stopped}})
		}},
		{"a worker ends by itself", "grace", func(b *book) { b.cut(what("p3", history.Signalled)) }},
		{"a client ends with an error", "grace", func(b *book) {
			b.cut(what("p1", history.Signalled))
			b.Events[slices.IndexFunc(b.Events, what("p1", history.Ended))].Process.Code = 2
		}},
		{"a client ends with its connection", "", func(b *book) { b.cut(what("p1", history.Signalled)) }},
		{"a process dies of no task that kills", "crashes ended grace", func(b *book) { b.plan(10, func(p *history.Plan) { p.Exit = 0 }) }},
		{"a process ends when a short fault is just over", "", endsAfterShortFault},
		{"a process has just begun when a fault does", "", func(b *book) {
			b.start("p9")
			b.process(history.Process{Name: "p9", PID: 9, What: history.Ready})
			b.now = b.now.Add(-margin)
			b.event(history.Event{Fault: &history.Fault{ID: 5, Kind: "restart"}})
			b.ended("p9", "SIGABRT")
		}},
		{"a process ends in the middle of a fault", "grace", func(b *book) {
			b.start("p9")
			b.now = b.now.Add(margin)
			b.event(history.Event{Fault: &history.Fault{ID: 5, Kind: "restart"}})
			b.process(history.Process{Name: "p9", PID: 9, What: history.Ready})
			b.ended("p9", "SIGABRT")
		}},
		{"a fault ends it", "", func(b *book) {
			i := slices.IndexFunc(b.Events, what("p3", history.Signalled))
			b.Events[i].Process = nil
			b.Events[i].Fault = &history.Fault{ID: 5, Kind: "oom", Victims: []string{"p3"}}
		}},
	}
}

// beginWays are about processes that end while they start.
func beginWays() []broken {
	return []broken{
		{"a process cannot begin without a store", "", func(b *book) {
			b.event(history.Event{Fault: &history.Fault{ID: 5, Kind: "restart"}})
			b.start("p9")
			b.ended("p9", "SIGABRT")
		}},
		{"a process cannot begin", "grace", func(b *book) {
			b.start("p9")
			b.ended("p9", "SIGABRT")
		}},
		{"a process cannot begin while another stands still", "", func(b *book) {
			b.process(history.Process{Name: "p4", PID: 4, What: history.Stopped})
			b.start("p9")
			b.ended("p9", "SIGABRT")
			b.process(history.Process{Name: "p4", PID: 4, What: history.Continued})
		}},
		{"a process cannot begin after another stood still", "grace", func(b *book) {
			b.process(history.Process{Name: "p4", PID: 4, What: history.Stopped})
			b.process(history.Process{Name: "p4", PID: 4, What: history.Continued})
			b.now = b.now.Add(margin)
			b.start("p9")
			b.ended("p9", "SIGABRT")
		}},
		{"a process is ready too early without a store", "", func(b *book) {
			b.event(history.Event{Fault: &history.Fault{ID: 5, Kind: "restart"}})
			b.start("p9")
			b.process(history.Process{Name: "p9", PID: 9, What: history.Ready})
			b.ended("p9", "SIGABRT")
		}},
	}
}

func growthWays() []broken {
	grow := func(do func(s *history.Sample, n int)) func(*book) {
		return func(b *book) {
			n := 0
			for _, e := range b.Events {
				if e.Sample != nil {
					n++
					do(e.Sample, n/2) // there are two series
				}
			}
		}
	}
	return []broken{
		{"memory", "growth", grow(func(s *history.Sample, n int) { s.RSS += int64(n) * 8 << 20 })},
		{"descriptors", "growth", grow(func(s *history.Sample, n int) { s.Files += 5 * n })},
		{"a table", "growth", grow(func(s *history.Sample, n int) {
			if s.Tables != nil {
				s.Tables["tasks"] += int64(n) << 20
			}
		})},
		{"a process that is idle for a while, and busy before and after", "", grow(func(s *history.Sample, n int) {
			if n < 2 || n > 20 {
				s.Files += 60
			}
		})},
		{"memory at the beginning", "", grow(func(s *history.Sample, n int) { s.RSS += int64(min(n, 10)) * 8 << 20 })},
		{"a table with many tasks", "", func(b *book) {
			grow(func(s *history.Sample, n int) {
				if s.Tables != nil {
					s.Tables["tasks"] += int64(n) << 20
				}
			})(b)
			for i, e := range b.Events {
				if e.Sample == nil || e.Sample.Tables == nil || i%4 != 0 {
					continue
				}
				var plans []history.Plan
				for n := range 100 {
					plans = append(plans, history.Plan{Seq: 1000 + 100*i + n, Kind: history.KindSteps, Steps: 1})
				}
				b.Events = append(b.Events, history.Event{N: e.N, At: e.At, Call: &history.Call{ID: int64(1000 + i), Op: history.Enqueue, Plans: plans}})
			}
		}},
	}
}
