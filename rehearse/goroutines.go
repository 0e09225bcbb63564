package rehearse

import (
	"cmp"
	"slices"
	"strings"
)

// goroutines parses the dump that the Go runtime writes at SIGQUIT, and groups the goroutines by
// their stacks. The runtime's own goroutines are left out. Stacks with the program's own code come
// first.
func goroutines(dump string) []Stack {
	var all []Stack
	index := map[string]int{}
	for block := range strings.SplitSeq(dump, "\n\n") {
		at := strings.Index(block, "goroutine ")
		if at != 0 && (at < 0 || block[at-1] != '\n') {
			continue
		}
		one, ok := goroutine(block[at:])
		if !ok {
			continue
		}
		key := one.State + "\n" + one.CreatedBy + "\n" + strings.Join(one.Frames, "\n")
		if i, ok := index[key]; ok {
			all[i].Count++
			continue
		}
		index[key] = len(all)
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b Stack) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Count, a.Count)) })
	return all[:min(maxStacks, len(all))]
}

// rank sorts goroutines that wait for connections behind those that work or wait for something in
// the program.
func rank(s Stack) int {
	if s.State == "IO wait" {
		return 1
	}
	return 0
}

// goroutine parses one goroutine, with all of its lines.
func goroutine(text string) (Stack, bool) {
	head, rest, _ := strings.Cut(text, "\n")
	_, state, ok := strings.Cut(head, "[")
	if !ok || !strings.HasSuffix(state, "]:") {
		return Stack{}, false
	}
	state, _, _ = strings.Cut(strings.TrimSuffix(state, "]:"), ",") // "chan receive, 2 minutes"
	s := Stack{Count: 1, State: state}
	for rest != "" {
		var function, place string
		function, rest, _ = strings.Cut(rest, "\n")
		place, rest, _ = strings.Cut(rest, "\n")
		if !strings.HasPrefix(place, "\t") {
			break // registers follow the last goroutine
		}
		place, _, _ = strings.Cut(strings.TrimSpace(place), " ") // "/src/main.go:12 +0x1d"
		if by, ok := strings.CutPrefix(function, "created by "); ok {
			s.CreatedBy, _, _ = strings.Cut(by, " in goroutine ")
			break
		}
		if i := strings.LastIndexByte(function, '('); i > 0 {
			function = function[:i]
		}
		if len(s.Frames) == 0 && strings.HasPrefix(function, "runtime.") || function == "runtime.main" || function == "runtime.goexit" {
			continue // how the runtime parks a goroutine is not where it waits
		}
		s.Frames = append(s.Frames, function+" "+place)
	}
	return s, len(s.Frames) > 0 && !strings.HasPrefix(s.CreatedBy, "runtime.") && !strings.HasPrefix(s.Frames[0], "os/signal.")
}
