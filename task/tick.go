package task

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"time"
)

// plan returns the tick of a schedule that is due, and how many of its ticks are left out.
func (e *scheduled) plan(d DueSchedule, now time.Time, salt string) (t Tick, leftOut int) {
	keep := e.MaxMissed
	if e.Missed != MissedAll {
		keep = maxTicks
	}
	ticks, all, next := ticksUntil(e.schedule, d.Tick, now, keep)
	t = Tick{Name: e.name, At: d.Tick, Next: next}
	if e.Overlap != OverlapAllow {
		t.Alone = true
	}
	if e.Overlap == OverlapQueue {
		t.Hold = holdFor
	}
	switch {
	case d.Paused:
		return t, 0
	case t.Hold > 0 && e.Missed == MissedAll:
		if len(ticks) > 1 {
			t.Next = ticks[1]
		}
		leftOut = all - len(ticks)
		ticks = ticks[:1]
	default:
		if e.Missed == MissedSkip && !d.Held {
			for len(ticks) > 0 && now.Sub(ticks[0]) > missedAfter {
				ticks = ticks[1:]
			}
		}
		if (e.Missed == MissedOne || t.Alone) && len(ticks) > 1 {
			ticks = ticks[len(ticks)-1:]
		}
		leftOut = all - len(ticks)
	}
	for _, at := range ticks {
		t.Tasks = append(t.Tasks, e.task(at, now, salt))
	}
	return t, leftOut
}

// holdFor is how long a tick that waits for the end of a task is put off.
const holdFor = time.Second

// task returns the task of a tick.
func (e *scheduled) task(at, now time.Time, salt string) NewTask {
	n := e.Task
	n.ID = tickID(salt, e.set, e.name, at)
	n.Meta = e.meta(at)
	if e.Jitter > 0 {
		sum := tickSum(salt, "jitter", e.set, e.name, at)
		after := time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(e.Jitter))
		n.Delay = max(0, at.Add(after).Sub(now))
		if n.StartBefore > 0 {
			n.StartBefore += n.Delay // from when it may begin
		}
	}
	return n
}

// meta returns the Meta of a tick's task; at is zero for a task that a person requests.
func (e *scheduled) meta(at time.Time) map[string]string {
	meta := maps.Clone(e.Task.Meta)
	if meta == nil {
		meta = make(map[string]string)
	}
	meta[MetaSchedule] = e.set + "/" + e.name
	if !at.IsZero() {
		meta[MetaTick] = at.UTC().Format(time.RFC3339Nano)
	}
	return meta
}

// maxSteps bounds the ticks that are stepped through one by one: a day of seconds.
const maxSteps = 100_000

// ticksUntil returns the ticks from one that is due until now, or the newest of them if there are
// more than keep; how many there are; and the first one after now. After maxSteps it leaps.
func ticksUntil(s Schedule, due, now time.Time, keep int) (ticks []time.Time, all int, next time.Time) {
	for next = due; !next.IsZero() && !next.After(now); next = nextTick(s, next) {
		if all++; all%maxSteps == 0 {
			next = leap(s, next, now)
		}
		if ticks = append(ticks, next); len(ticks) >= 2*keep {
			ticks = append(ticks[:0], ticks[len(ticks)-keep:]...)
		}
	}
	return ticks[max(0, len(ticks)-keep):], all, next
}

// leap returns a tick before now that has few after it, or the given one.
func leap(s Schedule, from, now time.Time) time.Time {
	for back := time.Minute; back < now.Sub(from); back *= 8 {
		if t := nextTick(s, now.Add(-back)); !t.IsZero() && t.After(from) && !t.After(now) {
			return t
		}
	}
	return from
}

// nextTick returns the tick after a time, as stores keep it. A tick that is not after it would be
// due for ever, and counts as none.
func nextTick(s Schedule, t time.Time) time.Time {
	next := s.Next(t.UTC())
	if next.IsZero() {
		return time.Time{}
	}
	if next = next.UTC().Truncate(time.Microsecond); !next.After(t) {
		return time.Time{}
	}
	return next
}

// tickID returns the id of a tick's task, a UUID of version 8. Clients may choose ids; without the
// salt none of them can take the id of a tick that is to come.
func tickID(salt, set, name string, at time.Time) string {
	sum := tickSum(salt, "id", set, name, at)
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	digits := hex.EncodeToString(b)
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

func tickSum(salt, what, set, name string, at time.Time) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	for _, text := range []string{salt, what, set, name} {
		b = append(append(b, text...), 0) // none of them has a zero byte
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(at.UnixMicro())))
}
