package task

import "time"

// ScheduleSet is what a store knows of the schedules of one service, beside the schedules.
type ScheduleSet struct {
	// Name is the service's.
	Name string
	// Generation names the content; each PutSchedules gives a new one. Empty: there is no such set.
	Generation string
	// Revision and Digest are of the configuration that it came from, Former has the digests of
	// those before it, the newest last. They mean nothing to a store.
	Revision int64
	Digest   string
	Former   []string
	// Salt goes into the ids of the tasks. Who does not know it cannot guess them.
	Salt string
	// Beats grows whenever a process of this generation says that it is there. It is a number and no
	// time: who waits for silence measures that by its own clock. It is not put.
	Beats int64
}

// ScheduleRecord is a schedule as a store keeps it.
type ScheduleRecord struct {
	// Name is unique in its set.
	Name string
	// Timing is the text of its times: when it changes Next counts. Words are for people.
	Timing, Words string
	// Template is what a tick makes, as this package encodes it.
	Template []byte
	// Next is the next tick; zero means that there is none.
	Next time.Time
}

// SchedulesPut is what a set shall be.
type SchedulesPut struct {
	ScheduleSet
	// Was is the generation that the set must have, empty for a set that must not exist.
	Was string
	// Schedules are all of the set, at most MaxSchedules.
	Schedules []ScheduleRecord
	// Renamed has former names, by the new ones.
	Renamed map[string]string
}

// StoredSchedule is what a store tells of a schedule.
type StoredSchedule struct {
	// Set is the name of its set.
	Set string
	ScheduleRecord
	// Paused: its ticks make nothing.
	Paused bool
	// Last is the last tick that made a task, LastTask the last task that was made, also by hand.
	Last     time.Time
	LastTask string
}

// ScheduleQuery says which schedules are listed. A zero field admits everything.
type ScheduleQuery struct {
	// Set and Name are the only ones wanted.
	Set, Name string
	// AfterSet and AfterName continue a listing.
	AfterSet, AfterName string
	// Limit bounds the answer; zero is 100.
	Limit int
}

// DueRequest asks for the schedules of a set whose time has come.
type DueRequest struct {
	// Set is the set's name, Generation the only one whose schedules are wanted.
	Set, Generation string
	// Clock is the caller's clock; zero means that the store's alone counts. Where both are there,
	// the one that is behind counts.
	Clock time.Time
	// Alive: a process of this generation is there, and Beats grows.
	Alive bool
	// Max bounds the answer.
	Max int
}

// DueReply is the answer.
type DueReply struct {
	// Set is the set as it is.
	Set ScheduleSet
	// Now is the clock that counts.
	Now time.Time
	// Due are schedules of the generation, those first that were due first.
	Due []DueSchedule
	// Wait is how long it is until the first schedule is due that is not in Due; zero if one is due
	// already, negative if there is none.
	Wait time.Duration
}

// DueSchedule is one whose tick has come.
type DueSchedule struct {
	// Name is its name, Tick the time of the tick.
	Name string
	Tick time.Time
	// Held: the tick has waited for the end of the task before it.
	Held bool
	// Paused: the tick will make nothing.
	Paused bool
}

// TickRequest makes ticks of a set.
type TickRequest struct {
	// Set is the set's name, Generation the one that the schedules must have; empty for ticks that a
	// person asks for.
	Set, Generation string
	// Clock is as in DueRequest.
	Clock time.Time
	// Ticks are of schedules that are not the same.
	Ticks []Tick
}

// Tick is what becomes of a schedule whose time has come.
type Tick struct {
	// Name is the schedule's.
	Name string
	// At is the tick that it must have, Next the one that it gets, zero for none. Without an At the
	// tick is asked for by a person: the schedule keeps the one that it has, and may be paused.
	At, Next time.Time
	// Tasks are added with it; the last one is the schedule's LastTask from then on.
	Tasks []NewTask
	// Alone: nothing is added while the schedule's LastTask has not ended.
	Alone bool
	// Hold is for Alone: the schedule keeps the tick and is due again after Hold, where it otherwise
	// gets the next one.
	Hold time.Duration
}

// TickResult is the outcome of a tick.
type TickResult struct {
	// Made: the tick was this call's.
	Made bool
	// Added is how many tasks were added. The ids of the others existed.
	Added int
	// Unfinished is the id of the task because of which nothing was added.
	Unfinished string
}

// MaxSchedules bounds the schedules of a set.
const MaxSchedules = 100_000
