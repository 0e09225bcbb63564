package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall"
)

// Step does a part of a task once, and keeps its result. The first run that comes here calls do,
// and records what it returns, as JSON, in one durable write before Step returns. Every later run
// gets the recorded result, as JSON has kept it, and do is not called:
//
//	manifest, err := task.Step(ctx, r, "pull", func(ctx context.Context) (Manifest, error) { ... })
//	if err != nil {
//		return err
//	}
//	invoice, err := task.Step(ctx, r, "charge", func(ctx context.Context) (Invoice, error) { ... })
//
// A process that is killed between the end of do and the write has do called again by the next run:
// what do asks of others is asked twice then, and should carry a key of its own (the task's id and
// the step's name) by which they know that. The write waits for the store as [Run.Save] does, and
// for some seconds more: what do has done is recorded also when a timeout or a cancellation has
// come meanwhile.
//
// An error of do records nothing. It comes back wrapped, with the step's name: return it, and what
// it means is what it means elsewhere (an attempt, [Permanent], [Snooze]). The handler may also
// call the same Step again. To go on without a result, let do return none and no error.
//
// After last call no step begins that is not recorded: Step then returns an error that is
// ErrInterrupted, and when it is returned the task is handed over, to go on with this step. One
// that has begun goes on until its context ends.
//
// Steps follow each other. Within a run each has a name of its own: letters, digits and . _ - /, at
// most 100 of them; in a loop, with its number. None begins while another one is under way, not
// even inside of it, and after one that has failed only the same one may follow. A later run must
// meet the recorded steps in their order, and new ones after them. Where it does not, because the
// program has changed, the error is ErrSteps and names the step, and the version that recorded it.
// It is an attempt and not the end, since in a rollout the other version may be the right one: the
// next attempt comes after a minute at the earliest, as for ErrPayload. What helps is said there.
//
// A task has at most MaxSteps steps, each with a result of at most MaxCheckpoint bytes, and all
// together with MaxStepResults. Steps and the checkpoint of [Run.Save] are records of their own,
// and neither touches the other: a handler may have both. They are removed with the task, and by a
// [Client.Retry] from the start.
func Step[T any](ctx context.Context, r *Run, name string, do func(context.Context) (T, error), opts ...StepOption) (T, error) {
	var none T
	s, err := r.beginStep(ctx, name, false, opts)
	if err != nil {
		return none, err
	}
	defer s.leave()
	if s.skipped || s.recorded != nil {
		v, err := resultOf[T](s)
		if err == nil {
			s.passed()
		}
		return v, err
	}
	if err := s.mayBegin(ctx); err != nil {
		return none, err
	}
	v, err := do(ctx)
	if err != nil {
		return none, s.failed(err)
	}
	b, err := encodeCheckpoint(v)
	if err == nil {
		err = s.write(ctx, StepDone, b)
	}
	if err != nil {
		return none, s.failed(err)
	}
	s.passed()
	return v, nil
}

// resultOf decodes the result that is recorded of a step; of one that a person has skipped it is
// the zero value.
func resultOf[T any](s *step) (v T, err error) {
	if s.skipped {
		return v, nil
	}
	if s.recorded.Body == nil || s.recorded.State != StepDone {
		return v, s.misfit("is one of Each there, and of Step here: give it another name")
	}
	if err := json.Unmarshal(s.recorded.Body, &v); err != nil {
		return v, s.misfit("has a result that this program cannot read: %w", err)
	}
	return v, nil
}

// StepOption is something more about a step.
type StepOption func(*stepOptions)

type stepOptions struct {
	former []string
	every  time.Duration
	length int
	each   bool // it is only for Each
}

// FormerNames says what a step was called in earlier versions of the program: a record of one of
// these names is taken for this step's, and keeps its name.
func FormerNames(names ...string) StepOption {
	return func(o *stepOptions) { o.former = append(o.former, names...) }
}

// StepState is what is recorded of a step.
type StepState string

const (
	// StepDone: it has been done, and is not done again.
	StepDone StepState = "done"
	// StepOpen: it is an Each that goes on behind its cursor.
	StepOpen StepState = "open"
	// StepSkipped: a person has skipped it.
	StepSkipped StepState = "skipped"
)

// StepRecord is what is recorded of a step.
type StepRecord struct {
	// Name is the step's, and State how far it is.
	Name  string
	State StepState
	// Place is where it stands in the order of the steps, from 1. It is 0 for a step that a person
	// has skipped, which has no place in the order.
	Place int
	// Version is that of the program that recorded it: see WorkerConfig.Version.
	Version string
	// Body is the result of a Step, or where an Each goes on; nil for an Each that is done, and for
	// what was skipped.
	Body []byte
	// Run is the number of the run that recorded it last, zero for a person; Saved is when that was,
	// by the store's clock. A store sets both.
	Run   int64
	Saved time.Time
}

// steps is what a run knows of the steps of its task. One step at a time uses it.
type steps struct {
	mu   sync.Mutex
	busy string // the step under way

	read    bool // what earlier runs have recorded is here
	records []recordedStep
	skipped map[string]bool
	met     int    // so many of the records, from the first on, has this run behind it
	unmet   string // the one that has begun in this run, and is not done
	size    int    // of all results
}

// recordedStep is a record with the name by which this run has met it.
type recordedStep struct {
	StepRecord
	as string
}

// step is one that a run is in.
type step struct {
	run      *Run
	name     string // of the record, if there is one
	opts     stepOptions
	skipped  bool
	recorded *recordedStep // nil for one that is new
}

// is reports whether a name is the step's, or was.
func (s *step) is(name string) bool { return name == s.name || slices.Contains(s.opts.former, name) }

// beginStep finds out what is recorded of a step. The caller leaves it.
func (r *Run) beginStep(ctx context.Context, name string, each bool, opts []StepOption) (*step, error) {
	s := &step{run: r, name: name}
	for _, o := range opts {
		o(&s.opts)
	}
	if s.opts.each && !each {
		return nil, invalid("step %s: Length and SaveEvery are for Each", name)
	}
	err := checkName("step", name)
	for i := 0; err == nil && i < len(s.opts.former); i++ {
		err = checkName("step", s.opts.former[i])
	}
	if err != nil {
		return nil, err
	}
	all := &r.steps
	all.mu.Lock()
	busy := all.busy
	if busy == "" {
		all.busy = name
	}
	all.mu.Unlock()
	if busy != "" {
		return nil, invalid("step %s begins while step %s is under way: let one end before the next, and call plain functions inside of it", name, busy)
	}
	if err = r.readSteps(ctx, s); err == nil {
		err = s.find()
	}
	if err != nil {
		s.leave()
		return nil, err
	}
	all.unmet = name
	return s, nil
}

// leave is for a step that has been begun.
func (s *step) leave() {
	all := &s.run.steps
	all.mu.Lock()
	all.busy = ""
	all.mu.Unlock()
}

// readSteps reads what earlier runs have recorded, before the first step of a run. The first run of
// a task asks nothing: only what has run can have steps, or have some skipped.
func (r *Run) readSteps(ctx context.Context, s *step) error {
	all := &r.steps
	if all.read {
		return nil
	}
	if r.task.Runs > 1 {
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			if ctx.Err() != nil {
				return s.handOver(ctx)
			}
			found, err := r.store.Steps(ctx, r.task.ID)
			if err == nil {
				all.take(found)
				break
			}
			if ctx.Err() == nil && (!again(err) || !pause(ctx, wait)) {
				return fmt.Errorf("step %s: what earlier runs have recorded: %w", s.name, err)
			}
		}
	}
	all.read = true
	return nil
}

// take keeps what was read.
func (all *steps) take(found []StepRecord) {
	all.skipped = make(map[string]bool)
	for _, rec := range found {
		if rec.State == StepSkipped {
			all.skipped[rec.Name] = true
			continue
		}
		all.records = append(all.records, recordedStep{StepRecord: rec})
		all.size += len(rec.Body)
	}
}

// find finds a step's record, if it has one, and checks that it is its turn.
func (s *step) find() error {
	all := &s.run.steps
	for i := range all.records[:all.met] {
		if all.records[i].as == s.name {
			return invalid("step %s comes twice in this run: give each its own name, in a loop with its number", s.name)
		}
	}
	if all.unmet != "" && all.unmet != s.name {
		return invalid("step %s begins although step %s has not been done: return its error, or call it again until it is; to go on without it, let its function return no error",
			s.name, all.unmet)
	}
	if all.met < len(all.records) && s.is(all.records[all.met].Name) {
		s.recorded = &all.records[all.met]
		return nil
	}
	s.skipped = all.skipped[s.name] || slices.ContainsFunc(s.opts.former, func(n string) bool { return all.skipped[n] })
	switch {
	case s.skipped:
	case all.met < len(all.records):
		return s.outOfOrder(&all.records[all.met].StepRecord)
	case len(all.records)+len(all.skipped) >= MaxSteps:
		return invalid("step %s: the task has %d steps already, and no more are kept: use Each, or put several parts into one step", s.name, MaxSteps)
	}
	return nil
}

// outOfOrder is about a step in whose place another one is recorded.
func (s *step) outOfOrder(next *StepRecord) error {
	for _, later := range s.run.steps.records[s.run.steps.met+1:] {
		if s.is(later.Name) {
			return fmt.Errorf("%w: step %s comes here before step %s, and came behind it when they were recorded%s: "+
				"put them back into their order, or retry the task from the start", ErrSteps, s.name, next.Name, by(next.Version))
		}
	}
	return fmt.Errorf("%w: step %s comes here where step %s is recorded%s: new steps come behind those that are recorded. "+
		"If it is the same one, say so with FormerNames(%q); otherwise keep the old step in its place, retry the task with step %s skipped, or retry it from the start",
		ErrSteps, s.name, next.Name, by(next.Version), next.Name, s.name)
}

// by says who has recorded a step.
func by(version string) string {
	if version == "" {
		return ""
	}
	return " (by version " + version + ")"
}

// misfit is about a record that this program cannot use.
func (s *step) misfit(format string, args ...any) error {
	why := fmt.Errorf(format, args...)
	return fmt.Errorf("%w: step %s, as it is recorded%s, %w", ErrSteps, s.recorded.Name, by(s.recorded.Version), why)
}

// mayBegin returns an error where a step that is not recorded must not begin, or an Each not go on.
func (s *step) mayBegin(ctx context.Context) error {
	if s.run.Stopping() || ctx.Err() != nil {
		return s.handOver(ctx)
	}
	return nil
}

// handOver is the error by which a handler hands its task over to a later run, which goes on with
// this step.
func (s *step) handOver(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !is[*lastcall.InterruptError](cause) {
		return fmt.Errorf("step %s: %w: %w", s.name, ErrInterrupted, cause)
	}
	return fmt.Errorf("step %s: %w", s.name, ErrInterrupted)
}

// failed is the error of a step, with its name.
func (s *step) failed(err error) error { return fmt.Errorf("step %s: %w", s.name, err) }

// passed notes that a run is behind a step.
func (s *step) passed() {
	all := &s.run.steps
	all.unmet = ""
	if s.recorded != nil {
		all.met++
		s.recorded.as, s.recorded.Body = s.name, nil // nobody asks for it again
	}
}

// write records a step as it is now.
func (s *step) write(ctx context.Context, state StepState, body []byte) error {
	rec, before := s.record(state, body)
	all := &s.run.steps
	if all.size+len(body)-before > MaxStepResults {
		return invalid("the results of the task's steps have %d bytes with this one, at most %d are kept: save a file's name instead of its content",
			all.size+len(body)-before, MaxStepResults)
	}
	err := s.run.record(ctx, nil, &rec)
	if cause := context.Cause(ctx); err != nil && cause != nil && !is[*lastcall.InterruptError](cause) && !lostForGood(cause) {
		// What has been done is not forgotten because the time for it is over.
		late, cancel := context.WithTimeout(s.run.saver.ctx, latePatience)
		err = s.run.record(late, nil, &rec)
		cancel()
	}
	if err != nil {
		return err
	}
	all.size += len(body) - before
	if s.recorded == nil {
		all.records = append(all.records, recordedStep{StepRecord: rec})
		s.recorded = &all.records[len(all.records)-1]
	} else {
		s.recorded.StepRecord = rec
	}
	return nil
}

// record makes what is to be recorded, and says how many bytes there were.
func (s *step) record(state StepState, body []byte) (rec StepRecord, before int) {
	rec = StepRecord{Name: s.name, State: state, Version: s.run.version, Body: body}
	all := &s.run.steps
	switch n := len(all.records); {
	case s.recorded != nil:
		rec.Name, rec.Place, before = s.recorded.Name, s.recorded.Place, len(s.recorded.Body)
	case n > 0:
		rec.Place = all.records[n-1].Place + 1
	default:
		rec.Place = 1
	}
	return rec, before
}

// latePatience bounds the wait for the store once a run's context has ended otherwise than by an
// interrupt.
const latePatience = 5 * time.Second

// lostForGood reports whether a run whose context has ended by this cause has nothing to write any
// more, or nowhere to.
func lostForGood(cause error) bool {
	return errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrDisconnected)
}
