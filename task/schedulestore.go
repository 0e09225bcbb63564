package task

import "time"

// ScheduleSet is what a store knows about the schedules of one service, apart from the schedules.
type ScheduleSet struct {
	// Name is the service's.
	Name string
	// Generation names the contents; each PutSchedules gives a new one. Empty: there is no such set.
	Generation string
	// Revision and Digest are those of the configuration that it came from. Former has the digests of
	// the configurations before it, the newest last. A store only keeps them.
	Revision int64
	Digest   string
	Former   []string
	// Salt goes into the ids of the tasks. Nobody who does not know it can guess them.
	Salt string
	// Beats grows whenever a process of this generation reports that it lives. It is a number and not
	// a time: a process that waits for silence measures that by its own clock. It is zero in a
	// SchedulesPut.
	Beats int64
}

// ScheduleRecord is a schedule as a store keeps it.
type ScheduleRecord struct {
	// Name is unique in its set.
	Name string
	// Timing is the text of its times: when it changes, the new Next counts. Words are for people.
	Timing, Words string
	// Template is the task that a tick makes, as this package encodes it.
	Template []byte
	// Next is the next tick; zero means that there is none.
	Next time.Time
}

// SchedulesPut is what a set shall contain.
type SchedulesPut struct {
	ScheduleSet
	// Was is the generation that the set must have, empty for a set that must not exist.
	Was string
	// Schedules are all schedules of the set, at most MaxSchedules.
	Schedules []ScheduleRecord
	// Renamed has the former names, by the new ones.
	Renamed map[string]string
}

// StoredSchedule is a schedule as a store returns it.
type StoredSchedule struct {
	// Set is the name of its set.
	Set string
	ScheduleRecord
	// Paused: its ticks make nothing.
	Paused bool
	// Last is the last tick that made a task. LastTask is the last task, which a person may have
	// requested.
	Last     time.Time
	LastTask string
}

// ScheduleQuery defines which schedules are listed. A zero field matches everything.
type ScheduleQuery struct {
	// Set and Name are those of the wanted schedules.
	Set, Name string
	// AfterSet and AfterName continue a listing.
	AfterSet, AfterName string
	// Limit bounds the answer; zero is 100.
	Limit int
}

// DueRequest asks for the schedules of a set whose time has come.
type DueRequest struct {
	// Set is the set's name, Generation the generation whose schedules are wanted.
	Set, Generation string
	// Clock is the caller's clock; zero means that only the store's clock counts. Of two clocks the
	// one that is behind counts.
	Clock time.Time
	// Alive: a process of this generation lives, and Beats grows.
	Alive bool
	// Max bounds the answer.
	Max int
}

// DueReply is the reply to a DueRequest.
type DueReply struct {
	// Set is the set as it is.
	Set ScheduleSet
	// Now is the clock that counts.
	Now time.Time
	// Due are due schedules of the generation; those that were due first come first.
	Due []DueSchedule
	// Wait is how long it is until the first schedule is due that is not in Due; zero if one is due
	// already, negative if there is none.
	Wait time.Duration
}

// DueSchedule is a schedule whose tick has come.
type DueSchedule struct {
	// Name is its name, Tick the time of the tick.
	Name string
	Tick time.Time
	// Held: the tick has waited for the end of the previous task.
	Held bool
	// Paused: the tick will make nothing.
	Paused bool
}

// TickRequest makes ticks of a set.
type TickRequest struct {
	// Set is the set's name, Generation the one that the schedules must have; it is empty for ticks
	// that a person requests.
	Set, Generation string
	// Clock is as in DueRequest.
	Clock time.Time
	// Ticks are of different schedules.
	Ticks []Tick
}

// Tick is the next step of a schedule whose time has come.
type Tick struct {
	// Name is the schedule's.
	Name string
	// At is the tick that the schedule must have, Next the one that it gets, zero for none. Without an
	// At a person requests the tick: the schedule keeps the tick that it has, and may be paused.
	At, Next time.Time
	// Tasks are added with the tick; the last one becomes the schedule's LastTask.
	Tasks []NewTask
	// Alone: nothing is added while the schedule's LastTask has not ended.
	Alone bool
	// Hold is for Alone: if nothing is added, the schedule keeps the tick and is due again after Hold.
	// Without Hold it gets the next tick.
	Hold time.Duration
}

// TickResult is the result of a tick.
type TickResult struct {
	// Made: this call has made the tick.
	Made bool
	// Added is how many tasks were added. The ids of the others existed.
	Added int
	// Unfinished is the id of the task because of which nothing was added.
	Unfinished string
}

// MaxSchedules bounds the schedules of a set.
const MaxSchedules = 100_000
