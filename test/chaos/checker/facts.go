package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// The states of a task and the results of a run, as in package history.
const (
	queued      = "queued"
	interrupted = "interrupted"
	succeeded   = "succeeded"
	failed      = "failed"
	cancelled   = "cancelled"
)

// keptRuns is the least number of runs that a store keeps of a task. A history with that many runs
// may have lost its first ones.
const keptRuns = 100

// facts is a history, indexed by task, process and fault.
type facts struct {
	lease, margin time.Duration
	state         history.State
	tasks         []*task // by number
	bySeq         map[int]*task
	byID          map[string]*task // the tasks in the store
	unasked       []history.Task   // tasks in the store that belong to no plan
	processes     []*process       // in the order in which they started
	byName        map[string]*process
	byPID         map[int][]*process
	faults        []*fault
	losses        []span // times of which answered commits may be lost
	outages       []span // times in which possibly no process reached the store
	clocks        bool   // a fault has moved the clock of the store
	tables        []*history.Event
	queues        map[string][]*control // pauses and resumes
	all           []*control            // commands for all tasks of a queue
	schedules     []*schedule
	end           time.Time
}

// task is all that is known of one task.
type task struct {
	seq      int
	plan     history.Plan
	adds     []add
	controls []control
	effects  []effect // in their order, with the refused ones
	records  []history.Task
	made     *schedule // the schedule that has made it; nil for the task of a client
	tx       []history.TxStep
}

// effect is an effect and the event that recorded it.
type effect struct {
	*history.Effect
	at *history.Event
}

// add is a call that enqueues a task. Answered is nil if there was no answer.
type add struct {
	asked, answered *history.Event
	place           int // the index among the plans of the call
}

// control is a command for a task, a queue or a schedule. With all it is one for all tasks of a
// queue, which has reached some of them.
type control struct {
	asked, answered *history.Event
	all             bool
}

// schedule is a schedule, when it was made, and its pauses.
type schedule struct {
	history.Schedule
	made   *history.Event
	pauses []*control
}

// process is one life of a process.
type process struct {
	name           string
	pid            int
	started, ended *history.Event
	ready          bool
	told           []*history.Event // orders to end
	signals        int
	stops          []span
	left           []string
	samples        []*history.Event
	worked         bool // it had effects
}

// fault is a fault that took place.
type fault struct {
	*history.Fault
	begin, over *history.Event // over is nil if the fault lasts to the end
	span
}

// span is a time range. If it never ended, to is the end of the history.
type span struct{ from, to time.Time }

// meets reports whether a time range overlaps the span.
func (s span) meets(from, to time.Time) bool { return !s.from.After(to) && !s.to.Before(from) }

func (s span) has(at time.Time) bool { return !at.Before(s.from) && !at.After(s.to) }

// read indexes a history.
func read(h history.History) *facts {
	f := &facts{
		lease: h.Lease, margin: h.Margin, state: h.State,
		bySeq: make(map[int]*task), byID: make(map[string]*task),
		byName: make(map[string]*process), byPID: make(map[int][]*process), queues: make(map[string][]*control),
	}
	for i := range h.Events {
		if at := h.Events[i].At; at.After(f.end) {
			f.end = at
		}
	}
	calls := make(map[int64]*history.Event)
	faults := make(map[int]*fault)
	for i := range h.Events {
		e := &h.Events[i]
		switch {
		case e.Process != nil:
			f.process(e)
		case e.Fault != nil:
			f.fault(e, faults)
		case e.Call != nil:
			calls[e.Call.ID] = e
			f.call(e)
		case e.Answer != nil:
			f.answer(calls[e.Answer.Call], e)
		case e.Effect != nil:
			f.effect(e)
		case e.Schedule != nil:
			f.schedules = append(f.schedules, &schedule{Schedule: *e.Schedule, made: e})
		case e.Sample != nil && e.Sample.Process != "":
			p := f.named(e.Sample.Process)
			p.samples = append(p.samples, e)
		case e.Sample != nil:
			f.tables = append(f.tables, e)
		}
	}
	f.take(h.State)
	f.spread()
	for _, x := range f.faults {
		if len(x.Victims) == 0 {
			f.outages = append(f.outages, x.span)
		}
	}
	for _, x := range f.faults {
		if x.Lossy {
			f.losses = append(f.losses, span{x.from.Add(-f.margin), f.heard(x.to)})
		}
	}
	f.tasks = slices.SortedFunc(maps.Values(f.bySeq), func(a, b *task) int { return cmp.Compare(a.seq, b.seq) })
	return f
}

// heard returns when every process has learned what the store had lost by then: a margin later,
// plus a margin for each outage that began meanwhile.
func (f *facts) heard(lost time.Time) time.Time {
	until := lost.Add(f.margin)
	for again := true; again; {
		again = false
		for _, s := range f.outages {
			if s.from.After(lost) && !s.from.After(until) && s.to.Add(f.margin).After(until) {
				until, again = s.to.Add(f.margin), true
			}
		}
	}
	return until
}

// process records an event of a process.
func (f *facts) process(e *history.Event) {
	p := f.named(e.Process.Name)
	if e.Process.PID != 0 && p.pid == 0 {
		p.pid = e.Process.PID
		f.byPID[p.pid] = append(f.byPID[p.pid], p)
	}
	open := len(p.stops) > 0 && p.stops[len(p.stops)-1].to.Equal(f.end)
	switch e.Process.What {
	case history.Started:
		p.started = e
	case history.Ready:
		p.ready = true
	case history.Signalled:
		p.signals++
		if e.Process.Grace > 0 {
			p.told = append(p.told, e)
		}
	case history.Stopped:
		if !open {
			p.stops = append(p.stops, span{e.At, f.end})
		}
	case history.Continued, history.Ended:
		if open {
			p.stops[len(p.stops)-1].to = e.At
		}
		if e.Process.What == history.Ended {
			p.ended = e
		}
	}
	switch left := e.Process.Left; {
	case left == "":
	case e.Process.What != history.Outlived:
		p.left = append(p.left, left)
	case e.Process.Lasted > f.margin:
		p.left = append(p.left, fmt.Sprintf("%s, %v after its program had ended", left, e.Process.Lasted))
	}
}

// fault records the beginning or the end of a fault.
func (f *facts) fault(e *history.Event, known map[int]*fault) {
	if e.Fault.Skipped != "" {
		return
	}
	if begun, ok := known[e.Fault.ID]; ok && e.Fault.Over {
		begun.over, begun.to = e, e.At
		if len(begun.Victims) > 0 { // include the replacements of the first victims
			whole := *begun.Fault
			whole.Victims = e.Fault.Victims
			begun.Fault = &whole
		}
		return
	}
	x := &fault{Fault: e.Fault, begin: e, span: span{e.At, f.end}}
	if e.Fault.Over {
		x.over, x.to = e, e.At
	}
	known[e.Fault.ID] = x
	f.faults = append(f.faults, x)
	f.clocks = f.clocks || e.Fault.Clocks
}

// call records what was asked of a task.
func (f *facts) call(e *history.Event) {
	for i, plan := range e.Call.Plans {
		t := f.task(plan.Seq)
		t.plan = plan
		t.adds = append(t.adds, add{asked: e, place: i})
	}
	switch e.Call.Op {
	case history.Cancel, history.Retry, history.Interrupt, history.Delete:
		t := f.task(e.Call.Seq)
		t.controls = append(t.controls, control{asked: e})
	case history.Pause, history.Resume:
		f.queues[e.Call.Queue] = append(f.queues[e.Call.Queue], &control{asked: e})
	case history.CancelAll, history.RetryAll, history.DeleteAll:
		f.all = append(f.all, &control{asked: e, all: true})
	case history.PauseSchedule:
		if s := f.schedule(e.Call.Schedule); s != nil {
			s.pauses = append(s.pauses, &control{asked: e})
		}
	}
}

// answer records the result of a call.
func (f *facts) answer(call, e *history.Event) {
	if call == nil {
		return
	}
	for i := range call.Call.Plans {
		t := f.task(call.Call.Plans[i].Seq)
		for k := range t.adds {
			if t.adds[k].asked == call && t.adds[k].place == i {
				t.adds[k].answered = e
			}
		}
	}
	controls := slices.Concat(f.queues[call.Call.Queue], f.all)
	if s := f.schedule(call.Call.Schedule); s != nil {
		controls = s.pauses
	}
	for _, c := range controls {
		if c.asked == call {
			c.answered = e
		}
	}
	if t, ok := f.bySeq[call.Call.Seq]; ok {
		for k := range t.controls {
			if t.controls[k].asked == call {
				t.controls[k].answered = e
			}
		}
	}
}

func (f *facts) effect(e *history.Event) {
	t := f.task(e.Effect.Seq)
	t.effects = append(t.effects, effect{e.Effect, e})
	f.named(e.Effect.Process).worked = true
}

// take records the final state of the store. Tasks that nobody has asked for are kept separately.
func (f *facts) take(s history.State) {
	for _, r := range s.Tasks {
		f.tick(&r)
		t, known := f.bySeq[r.Seq]
		if !known || len(t.adds) == 0 && t.made == nil {
			f.unasked = append(f.unasked, r)
			continue
		}
		t.records = append(t.records, r)
		f.byID[r.ID] = t
	}
	for _, x := range s.TxSteps {
		t := f.task(x.Seq)
		t.tx = append(t.tx, x)
	}
}

func (f *facts) task(seq int) *task {
	t, ok := f.bySeq[seq]
	if !ok {
		t = &task{seq: seq}
		f.bySeq[seq] = t
	}
	return t
}

func (f *facts) named(name string) *process {
	p, ok := f.byName[name]
	if !ok {
		p = &process{name: name}
		f.byName[name] = p
		f.processes = append(f.processes, p)
	}
	return p
}
