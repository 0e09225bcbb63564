// Package cron makes schedules from cron expressions and from intervals, for
// [task.SchedulerConfig]. The expressions are those of github.com/robfig/cron/v3: five fields,
// names of months and days, lists, ranges and steps, and @hourly, @daily, @weekly, @monthly,
// @yearly and @every 30s.
//
// Times are in a time zone, UTC unless another one is given. The zone of the machine plays no part,
// because processes on several machines must agree. Where a zone changes to summer time and back,
// this package does as cron does (robfig/cron leaves out the first case):
//
//   - A time that does not exist on that day, such as 02:30 when the clocks go from 02:00 to 03:00,
//     is due at the change: the job of that night is not left out. Several such times are due once.
//   - A time that exists twice is due only the first time.
//   - An expression whose minute or hour begins with a star is an interval, and follows the time
//     that passes. */15 * * * * is due each quarter of an hour: never in the hour that is skipped,
//     and in each of the two hours that have the same name.
package cron

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lastcall-go/lastcall/task"
)

// Options define how an expression is parsed.
type Options struct {
	// Zone is the time zone of the times. Nil means UTC.
	Zone *time.Location
	// Seconds: the expression has a field for seconds before the others.
	Seconds bool
}

// Schedule is a parsed expression.
type Schedule struct {
	text, words string
	zone        *time.Location
	spec        cron.Schedule // in UTC where walls is set, in the zone otherwise
	walls       bool          // it names times of the day, which stand on the wall's clock
}

var _ task.Schedule = Schedule{}

// Parse parses an expression. opt may be nil.
func Parse(expr string, opt *Options) (Schedule, error) {
	var o Options
	if opt != nil {
		o = *opt
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	expr = strings.Join(strings.Fields(expr), " ")
	if strings.Contains(expr, "TZ=") {
		return Schedule{}, fmt.Errorf("%w: cron expression %q names a time zone: leave it out and give the zone next to the expression", task.ErrInvalid, expr)
	}
	if o.Zone == time.Local {
		return Schedule{}, fmt.Errorf("%w: the machine's own time zone may be another one elsewhere: name a zone, such as Europe/Berlin", task.ErrInvalid)
	}
	if d, ok := strings.CutPrefix(expr, "@every "); ok {
		every, err := time.ParseDuration(d)
		if err != nil {
			return Schedule{}, fmt.Errorf("%w: cron expression %q: %w", task.ErrInvalid, expr, err)
		}
		return Every(every)
	}
	fields := cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow
	if o.Seconds {
		fields |= cron.Second
	}
	if strings.HasPrefix(expr, "@") {
		fields |= cron.Descriptor
	}
	spec, err := cron.NewParser(fields).Parse(expr)
	if err != nil {
		return Schedule{}, fmt.Errorf("%w: cron expression %q: %w", task.ErrInvalid, expr, err)
	}
	s := Schedule{text: expr, zone: o.Zone, spec: spec, walls: namesTimes(expr, o.Seconds)}
	if of, ok := spec.(*cron.SpecSchedule); ok {
		of.Location = o.Zone
		if s.walls {
			of.Location = time.UTC
		}
	}
	if s.Next(time.Unix(0, 0)).IsZero() {
		return Schedule{}, fmt.Errorf("%w: cron expression %q is never due: is there such a day in such a month?", task.ErrInvalid, expr)
	}
	s.words = describe(expr, o.Seconds)
	if o.Seconds {
		s.text += " with seconds"
	}
	if o.Zone != time.UTC {
		s.text += " in " + o.Zone.String()
	}
	s.words += ", " + o.Zone.String()
	return s, nil
}

// Every is due each time that d has passed, counted from when the schedule is first set. d is a
// number of whole seconds, at least one.
func Every(d time.Duration) (Schedule, error) {
	if d < time.Second || d%time.Second != 0 {
		return Schedule{}, fmt.Errorf("%w: a schedule cannot be due every %v: use whole seconds", task.ErrInvalid, d)
	}
	return Schedule{text: "@every " + d.String(), words: "every " + interval(d), zone: time.UTC, spec: cron.Every(d)}, nil
}

// namesTimes reports whether an expression has times of the day, and not intervals.
func namesTimes(expr string, seconds bool) bool {
	fields := strings.Fields(expr)
	switch {
	case strings.HasPrefix(expr, "@"):
		return expr != "@hourly"
	case seconds:
		fields = fields[1:]
	}
	return !strings.HasPrefix(fields[0], "*") && !strings.HasPrefix(fields[1], "*")
}

// String returns the expression, with its zone unless that is UTC.
func (s Schedule) String() string { return s.text }

// Words describes when the schedule is due, for people.
func (s Schedule) Words() string { return s.words }

// Zone returns the time zone of the times.
func (s Schedule) Zone() *time.Location { return s.zone }

// Next returns the first time after t, zero if there is none within five years.
func (s Schedule) Next(t time.Time) time.Time {
	if !s.walls {
		return s.spec.Next(t.In(s.zone))
	}
	for wall := onWall(t.In(s.zone)); ; {
		if wall = s.spec.Next(wall); wall.IsZero() {
			return wall
		}
		if next := fromWall(wall, s.zone); next.After(t) {
			return next
		}
	}
}

// onWall returns what a clock on the wall shows at t, as if it were UTC.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// fromWall returns when the clock on a wall first shows that time, or the change of the clocks that
// skips it.
func fromWall(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	start, end := t.ZoneBounds()
	switch shown := onWall(t); {
	case shown.After(wall):
		return start
	case shown.Before(wall):
		return end
	case start.IsZero():
		return t
	}
	_, before := start.Add(-time.Nanosecond).Zone()
	if first := wall.Add(-time.Duration(before) * time.Second).In(zone); first.Before(start) {
		return first
	}
	return t
}
