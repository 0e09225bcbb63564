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
	sorted := slices.Clone(c.Tasks)
	slices.SortStableFunc(sorted, func(a, b Count) int { return b.N - a.N })
	largest := Counts{Tasks: slices.Clone(sorted[:lines]), Paused: c.Paused}
	return largest.addOther(sorted[lines:])
}

// OfKinds returns counts whose lines are those of some kinds, and for each status one, of
// [OtherLines], that adds up the others.
func (c Counts) OfKinds(known func(kind string) bool) Counts {
	of := Counts{Paused: c.Paused}
	var others []Count
	for _, n := range c.Tasks {
		if known(n.Kind) {
			of.Tasks = append(of.Tasks, n)
		} else {
			others = append(others, n)
		}
	}
	return of.addOther(others)
}

func (c Counts) addOther(others []Count) Counts {
	for _, s := range Statuses() {
		sum := Count{Queue: OtherLines, Kind: OtherLines, Status: s}
		for _, n := range others {
			if n.Status == s {
				sum.N += n.N
			}
		}
		i := slices.IndexFunc(c.Tasks, func(n Count) bool {
			return n.Queue == OtherLines && n.Kind == OtherLines && n.Status == s
		})
		switch {
		case sum.N == 0:
		case i >= 0: // counts that were bounded before
			c.Tasks[i].N += sum.N
		default:
			c.Tasks = append(c.Tasks, sum)
		}
	}
	SortCounts(c.Tasks)
	return c
}
