package task

import "slices"

// OtherLines is the queue and the kind of a line of Counts that adds up others. No queue and no kind
// can have this name.
const OtherLines = "(other)"

// Largest returns counts of a bounded size: the lines with the most tasks, and for each status one,
// of [OtherLines], that adds up the others. Whoever may submit chooses the names of queues and
// kinds, and so how many lines there are.
func (c Counts) Largest(lines int) Counts {
	if len(c.Tasks) <= lines {
		return c
	}
	sizes := make([]int, len(c.Tasks))
	for i, n := range c.Tasks {
		sizes[i] = n.N
	}
	slices.Sort(sizes)
	least := sizes[len(sizes)-lines]
	asLarge := 0 // how many of the size least are among the largest
	for _, n := range sizes[len(sizes)-lines:] {
		if n == least {
			asLarge++
		}
	}
	return c.only(func(n Count) bool {
		if n.N == least {
			asLarge--
			return asLarge >= 0
		}
		return n.N > least
	})
}

// OfKinds returns counts whose lines are those of some kinds, and for each status one, of
// [OtherLines], that adds up the others.
func (c Counts) OfKinds(known func(kind string) bool) Counts {
	return c.only(func(n Count) bool { return known(n.Kind) })
}

// only keeps the lines that are wanted, and adds up the others without a copy of them, since they may
// be very many.
func (c Counts) only(wanted func(Count) bool) Counts {
	of := Counts{Paused: c.Paused, SuspectsWaiting: c.SuspectsWaiting, SuspectsRunning: c.SuspectsRunning}
	others := make(map[Status]int)
	for _, n := range c.Tasks {
		if n.Queue != OtherLines && wanted(n) {
			of.Tasks = append(of.Tasks, n)
		} else {
			others[n.Status] += n.N
		}
	}
	for status, n := range others {
		of.Tasks = append(of.Tasks, Count{Queue: OtherLines, Kind: OtherLines, Status: status, N: n})
	}
	SortCounts(of.Tasks)
	return of
}
