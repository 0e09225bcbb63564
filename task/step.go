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
// and records the value that it returns, as JSON, in one durable write before Step returns. Every
// later run gets the recorded value, as JSON has kept it, and does not call do:
//
//	manifest, err := task.Step(ctx, r, "pull", func(ctx context.Context) (Manifest, error) { ... })
//	if err != nil {
//		return err
//	}
//	invoice, err := task.Step(ctx, r, "charge", func(ctx context.Context) (Invoice, error) { ... })
//
// If the process is killed between the end of do and the write, the next run calls do again. What
// do requests from other services is then requested twice: it should carry a key of its own (the
// task's id and the step's name) by which they recognize it. The write waits for the store as
// [Run.Save] does, and for some seconds more: the result of do is recorded even when a timeout or a
// cancellation has come meanwhile.
//
// An error of do records nothing. Step returns it wrapped, with the step's name: return it, and it
// means what it means elsewhere (an attempt, [Permanent], [Snooze]). The handler may also call the
// same Step again. To go on without a result, let do return a nil error.
//
// After last call no step begins that is not recorded: Step then returns an error that is
// ErrInterrupted. Return it, and the task is handed over and goes on with this step. A step that
// has begun goes on until its context ends.
//
// The rules for steps:
//
//   - Within a run each has a name of its own: letters, digits and . _ - /, at most 100 of them; in
//     a loop, with its number.
//   - None begins while another one is under way, not even inside of it. After one that has failed
//     only the same one may follow.
//   - A later run must come to the recorded steps in their order, and to new ones after them. If it
//     does not, because the program has changed, the error is ErrSteps and names the step, and the
//     version that recorded it.
//   - Where a database has lost a record that it had confirmed, as after a failover to an
//     asynchronous standby, that step is done again in its place. Steps behind it keep what the
//     store has of them.
//   - ErrSteps is an attempt and not the end, because in a rollout the other version may be the
//     right one: the next attempt comes after a minute at the earliest, as for ErrPayload. The
//     error's text says what helps.
//   - A task has at most MaxSteps steps, each with a result of at most MaxCheckpoint bytes, and all
//     together of at most MaxStepResults.
//
// Steps and the checkpoint of [Run.Save] are separate records, and a handler may have both. Steps
// are removed with the task, and by a [Client.Retry] from the start.
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
	s.begin()
	v, err := do(ctx)
	if err != nil {
		if s.inTx {
			r.steps.doubt = s.name
		}
		return none, s.failed(err)
	}
	b, err := encodeCheckpoint(v)
	if err == nil {
		err = s.write(ctx, StepDone, b)
	}
	if err != nil {
		return none, s.failed(err)
	}
	return v, nil
}

// resultOf decodes the recorded result of a step; for one that a person has skipped it returns the
// zero value.
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

// StepOption is an option of a step.
type StepOption func(*stepOptions)

type stepOptions struct {
	former []string
	every  time.Duration
	length int
	each   bool // it is only for Each
}

// FormerNames sets the names that a step had in earlier versions of the program: a record with one
// of these names counts as this step's, and keeps its name.
func FormerNames(names ...string) StepOption {
	return func(o *stepOptions) { o.former = append(o.former, names...) }
}

// StepState is the state of a step's record.
type StepState string

const (
	// StepDone: the step has been done, and is not done again.
	StepDone StepState = "done"
	// StepOpen: the step is an Each that goes on after its cursor.
	StepOpen StepState = "open"
	// StepSkipped: a person has skipped the step.
	StepSkipped StepState = "skipped"
)

// StepRecord is the record of a step.
type StepRecord struct {
	// Name is the step's, and State how far it is.
	Name  string
	State StepState
	// Place is the step's position in the order of the steps, from 1. It is 0 for a step that a person
	// has skipped, which has no position.
	Place int
	// Version is the version of the program that recorded it: see WorkerConfig.Version.
	Version string
	// Body is the result of a Step, or the cursor of an Each; nil for an Each that is done, and for a
	// skipped step.
	Body []byte
	// Run is the number of the run that recorded it last, zero for a person; Saved is when that was,
	// by the store's clock. A store sets both. In a change, a Run of zero is a hint for the store: as
	// far as the run knows, there is no record of the step.
	Run   int64
	Saved time.Time
}

// steps is what a run knows about the steps of its task. One step at a time uses it.
type steps struct {
	mu   sync.Mutex
	busy string // the step under way
	now  *step  // that step, if it is a Step and not an Each

	read    bool          // what earlier runs have recorded is here
	passed  []string      // the steps that this run has passed, as it called them
	place   int           // the place of the last of them
	ahead   []*StepRecord // the records of those that it has not passed, in their order
	skipped map[string]bool
	doubt   string // the one whose transaction has ended nobody knows how
	unmet   string // the one that has begun in this run, and is not done
	size    int    // of all results
}

// step is a step that a run is in.
type step struct {
	run      *Run
	name     string // of the record, if there is one
	opts     stepOptions
	skipped  bool
	recorded *StepRecord // the first of steps.ahead; nil for one that is new
	place    int         // the place of its record; 0: it has none
	inTx     bool        // a transaction of the caller has its result
}

// is reports whether a name is the step's, or one of its former names.
func (s *step) is(name string) bool { return name == s.name || slices.Contains(s.opts.former, name) }

// beginStep finds the record of a step. The caller calls leave.
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

// begin notes that the function of a Step is about to be called.
func (s *step) begin() {
	all := &s.run.steps
	all.mu.Lock()
	all.now = s
	all.mu.Unlock()
}

// leave ends a step that has been begun.
func (s *step) leave() {
	all := &s.run.steps
	all.mu.Lock()
	all.busy, all.now = "", nil
	all.mu.Unlock()
}

// readSteps reads the records of earlier runs, before the first step of a run. The first run of a
// task reads nothing: only a task that has run can have steps, or have some skipped.
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

// take keeps the records that were read.
func (all *steps) take(found []StepRecord) {
	all.skipped = make(map[string]bool)
	for _, rec := range found {
		if rec.State == StepSkipped {
			all.skipped[rec.Name] = true
			continue
		}
		all.ahead = append(all.ahead, &rec)
		all.size += len(rec.Body)
	}
}

// find finds a step's record, if there is one, and checks that it is its turn.
func (s *step) find() error {
	all := &s.run.steps
	if slices.Contains(all.passed, s.name) {
		return invalid("step %s comes twice in this run: give each its own name, in a loop with its number", s.name)
	}
	if all.doubt == s.name {
		return fmt.Errorf("step %s: the transaction with its result may have been committed: return the step's error, and the next run finds out", s.name)
	}
	if all.unmet != "" && all.unmet != s.name {
		return invalid("step %s begins although step %s has not been done: return its error, or call it again until it is; to go on without it, let its function return no error",
			s.name, all.unmet)
	}
	if len(all.ahead) > 0 && s.is(all.ahead[0].Name) {
		s.recorded = all.ahead[0]
		s.place = s.recorded.Place
		return nil
	}
	s.skipped = all.skipped[s.name] || slices.ContainsFunc(s.opts.former, func(n string) bool { return all.skipped[n] })
	switch {
	case s.skipped:
	case len(all.ahead) > 0 && (!all.hole() || s.among(all.ahead[1:])):
		return s.outOfOrder(all.ahead[0])
	case len(all.passed)+len(all.ahead)+len(all.skipped) >= MaxSteps:
		return invalid("step %s: the task has %d steps already, and no more are kept: use Each, or put several parts into one step", s.name, MaxSteps)
	}
	return nil
}

// hole reports whether the step that comes next was recorded, and the store has lost the record: a
// later step has one.
func (all *steps) hole() bool { return all.ahead[0].Place > all.place+1 }

// among reports whether a step has one of these records.
func (s *step) among(records []*StepRecord) bool {
	return slices.ContainsFunc(records, func(r *StepRecord) bool { return s.is(r.Name) })
}

// outOfOrder returns the error for a step in whose place another one is recorded.
func (s *step) outOfOrder(next *StepRecord) error {
	if s.among(s.run.steps.ahead[1:]) {
		return fmt.Errorf("%w: step %s comes here before step %s, and came behind it when they were recorded%s: "+
			"put them back into their order, or retry the task from the start", ErrSteps, s.name, next.Name, by(next.Version))
	}
	return fmt.Errorf("%w: step %s comes here where step %s is recorded%s: new steps come behind those that are recorded. "+
		"If it is the same one, say so with FormerNames(%q); otherwise keep the old step in its place, retry the task with step %s skipped, or retry it from the start",
		ErrSteps, s.name, next.Name, by(next.Version), next.Name, s.name)
}

// by names the version that has recorded a step.
func by(version string) string {
	if version == "" {
		return ""
	}
	return " (by version " + version + ")"
}

// misfit returns the error for a record that this program cannot use.
func (s *step) misfit(format string, args ...any) error {
	why := fmt.Errorf(format, args...)
	return fmt.Errorf("%w: step %s, as it is recorded%s, %w", ErrSteps, s.recorded.Name, by(s.recorded.Version), why)
}

// mayBegin returns an error if a step without a record must not begin, or an Each not go on.
func (s *step) mayBegin(ctx context.Context) error {
	if s.run.Stopping() || ctx.Err() != nil {
		return s.handOver(ctx)
	}
	return nil
}

// handOver returns the error by which a handler hands its task over to a later run, which goes on
// with this step.
func (s *step) handOver(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !is[*lastcall.InterruptError](cause) {
		return fmt.Errorf("step %s: %w: %w", s.name, ErrInterrupted, cause)
	}
	return fmt.Errorf("step %s: %w", s.name, ErrInterrupted)
}

// failed returns the error of a step, with its name.
func (s *step) failed(err error) error { return fmt.Errorf("step %s: %w", s.name, err) }

// passed notes that a run is past a step.
func (s *step) passed() {
	all := &s.run.steps
	all.unmet = ""
	if s.recorded != nil {
		all.ahead = slices.Delete(all.ahead, 0, 1)
	}
	if s.place > 0 {
		all.passed, all.place = append(all.passed, s.name), s.place
	}
}

// write records a step as it is now. The run is past a step that is done.
func (s *step) write(ctx context.Context, state StepState, body []byte) error {
	rec, before := s.record(state, body)
	all := &s.run.steps
	if err := s.fits(len(body) - before); err != nil {
		return err
	}
	err := s.run.record(ctx, nil, &rec)
	if cause := context.Cause(ctx); err != nil && cause != nil && !is[*lastcall.InterruptError](cause) && !lostForGood(cause) {
		// What has been done must be recorded even though the time for it is over.
		late, cancel := context.WithTimeout(s.run.saver.ctx, latePatience)
		err = s.run.record(late, nil, &rec)
		cancel()
	}
	if err != nil {
		return err
	}
	all.size += len(body) - before
	s.place = rec.Place
	switch {
	case state == StepDone:
		s.passed()
	case s.recorded == nil:
		now := rec
		s.recorded = &now
		all.ahead = slices.Insert(all.ahead, 0, s.recorded)
	default:
		*s.recorded = rec
	}
	return nil
}

// fits checks the size of all results with so many bytes more.
func (s *step) fits(more int) error {
	if n := s.run.steps.size + more; n > MaxStepResults {
		return invalid("the results of the task's steps have %d bytes with this one, at most %d are kept: save a file's name instead of its content", n, MaxStepResults)
	}
	return nil
}

// record returns the new record, and how many bytes the old one had.
func (s *step) record(state StepState, body []byte) (rec StepRecord, before int) {
	rec = StepRecord{Name: s.name, State: state, Version: s.run.version, Body: body}
	if s.recorded != nil || s.inTx {
		rec.Run = s.run.task.Run
	}
	if s.recorded == nil {
		rec.Place = s.run.steps.place + 1
		return rec, 0
	}
	rec.Name, rec.Place = s.recorded.Name, s.recorded.Place
	return rec, len(s.recorded.Body)
}

// latePatience bounds the wait for the store once a run's context has ended by anything but an
// interrupt.
const latePatience = 5 * time.Second

// lostForGood reports whether a run whose context has ended by this cause has nothing more to
// write, or nowhere to.
func lostForGood(cause error) bool {
	return errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrDisconnected)
}
