package task

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Schedule defines when something is due. Package task/cron makes schedules from cron expressions
// and from intervals.
//
// A Schedule with a method String() string counts as changed when its text changes: its next tick
// is then computed again. One with a method Words() string is described with its result.
type Schedule interface {
	// Next returns the first tick after t, which is in UTC; the zero time means that there is none.
	// The same t must give the same tick in every process.
	Next(t time.Time) time.Time
}

// Missed decides what happens to ticks that came while no process could make them.
type Missed string

const (
	// MissedOne makes the newest of several ticks, however late it is: a job of the night runs once in
	// the morning.
	MissedOne Missed = "one"
	// MissedSkip leaves out each tick that is more than a minute late.
	MissedSkip Missed = "skip"
	// MissedAll makes each tick; if there are many, the newest MaxMissed.
	MissedAll Missed = "all"
)

// Overlap decides what happens to a tick while the task of the previous tick has not ended.
type Overlap string

const (
	// OverlapAllow makes the tick nevertheless.
	OverlapAllow Overlap = "allow"
	// OverlapSkip leaves the tick out.
	OverlapSkip Overlap = "skip"
	// OverlapQueue makes the tick when that task has ended, a second later at most. Of several ticks
	// that came meanwhile it makes the newest; with MissedAll it makes one after the other.
	OverlapQueue Overlap = "queue"
)

// The Meta of a task that a schedule has made has these two pairs.
const (
	// MetaSchedule is the schedule, as SET/NAME.
	MetaSchedule = "lastcall.schedule"
	// MetaTick is the time for which the task was made, in RFC 3339 and UTC. A task that a person
	// requested has none.
	MetaTick = "lastcall.tick"
)

// ScheduleEntry is a schedule and the task that it makes.
type ScheduleEntry struct {
	// Name is unique in its set: letters, digits and . _ - /, at most 100 of them.
	Name string
	// FormerName is the name that the schedule had before. With it the schedule keeps its next tick,
	// its pause and its last task under the new name; without it a renamed schedule is a new one.
	FormerName string
	// Schedule defines the ticks.
	Schedule Schedule
	// Task is the task that each tick makes, prepared by [Kind.Prepare] or [Prepare]. Its ID is not
	// used. Key and Delay must not be set: use Overlap and Jitter.
	Task NewTask
	// Jitter delays each task by up to this long. The delay follows from the schedule and the tick, so
	// all processes compute the same one. 0 means no delay.
	Jitter time.Duration
	// Missed is MissedOne unless set. MaxMissed bounds MissedAll; 0 means 100, the maximum is 1000.
	Missed    Missed
	MaxMissed int
	// Overlap is OverlapAllow unless set.
	Overlap Overlap
}

// missedAfter is how late a tick must be to count as missed. A rollout, a failover or a takeover
// must fit into it.
const missedAfter = time.Minute

// maxTicks bounds the tasks of one tick of a schedule.
const maxTicks = 1000

// template is what a store keeps of an entry, apart from its times.
type template struct {
	Task      NewTask       `json:"task"`
	Jitter    time.Duration `json:"jitter,omitempty"`
	Missed    Missed        `json:"missed"`
	MaxMissed int           `json:"maxMissed"`
	Overlap   Overlap       `json:"overlap"`
}

// scheduled is a ScheduleEntry that was checked.
type scheduled struct {
	template
	set, name, former string
	schedule          Schedule
	timing, words     string
	encoded           []byte
}

// check fills in the defaults of an entry of a set.
func (e ScheduleEntry) check(set string) (*scheduled, error) {
	if err := checkName("schedule", e.Name); err != nil {
		return nil, err
	}
	if e.FormerName != "" {
		if err := checkName("former name", e.FormerName); err != nil {
			return nil, err
		}
	}
	c := &scheduled{set: set, name: e.Name, former: e.FormerName, schedule: e.Schedule, template: template{
		Task: e.Task, Jitter: e.Jitter, Missed: cmp.Or(e.Missed, MissedOne), MaxMissed: cmp.Or(e.MaxMissed, 100), Overlap: cmp.Or(e.Overlap, OverlapAllow)}}
	n := &c.Task
	n.ID = ""
	proof := *n
	proof.ID = newID()
	proof.Meta = c.meta(time.Now())
	_, own := n.Meta[MetaSchedule]
	_, tick := n.Meta[MetaTick]
	switch err := proof.check(); {
	case e.Schedule == nil:
		return nil, invalid("schedule %q says no times: set Schedule", e.Name)
	case err != nil:
		return nil, fmt.Errorf("schedule %q: %w", e.Name, err)
	case n.Key != "" || n.Delay != 0:
		return nil, invalid("schedule %q: a task of a schedule has neither Key nor Delay: use Overlap and Jitter", e.Name)
	case own || tick:
		return nil, invalid("schedule %q: the meta keys %s and %s are set by each tick: leave them out", e.Name, MetaSchedule, MetaTick)
	case e.Jitter < 0 || e.Jitter > maxDelay:
		return nil, invalid("schedule %q: Jitter %v is negative or longer than a hundred years", e.Name, e.Jitter)
	case !slices.Contains([]Missed{MissedOne, MissedSkip, MissedAll}, c.Missed):
		return nil, invalid("schedule %q: Missed %q is none of one, skip, all", e.Name, e.Missed)
	case !slices.Contains([]Overlap{OverlapAllow, OverlapSkip, OverlapQueue}, c.Overlap):
		return nil, invalid("schedule %q: Overlap %q is none of allow, skip, queue", e.Name, e.Overlap)
	case c.MaxMissed < 1 || c.MaxMissed > maxTicks:
		return nil, invalid("schedule %q: MaxMissed %d must be from 1 to %d", e.Name, e.MaxMissed, maxTicks)
	}
	if s, ok := e.Schedule.(fmt.Stringer); ok {
		c.timing = storable(s.String(), maxErrorText)
	}
	c.words = c.timing
	if w, ok := e.Schedule.(interface{ Words() string }); ok {
		c.words = storable(w.Words(), maxErrorText)
	}
	var err error
	if c.encoded, err = json.Marshal(c.template); err != nil {
		return nil, fmt.Errorf("schedule %q: %w", e.Name, err)
	}
	return c, nil
}

// digestOf returns a text that differs when the configuration does.
func digestOf(entries []*scheduled) string {
	h := sha256.New()
	for _, e := range entries {
		for _, text := range []string{e.name, e.timing, e.words, string(e.encoded)} {
			fmt.Fprintf(h, "%d %s\n", len(text), text)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// SplitSchedule splits the name of a schedule, SET/NAME. A set's name has no slash.
func SplitSchedule(name string) (set, schedule string, err error) {
	set, schedule, ok := strings.Cut(name, "/")
	if !ok {
		return "", "", invalid("schedule %.200q must be named with its set, as SET/NAME", name)
	}
	if err := checkName("set of schedules", set); err != nil {
		return "", "", err
	}
	return set, schedule, checkName("schedule", schedule)
}
