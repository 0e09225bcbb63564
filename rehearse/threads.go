package rehearse

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// javaThreads parses the dump that a Java virtual machine writes at SIGQUIT: a block for each
// thread, with its state and its frames. Threads of the virtual machine itself are left out.
func javaThreads(dump string) []Stack {
	_, dump, _ = strings.Cut(dump, "Full thread dump ")
	var all []Stack
	for block := range strings.SplitSeq(dump, "\n\n") {
		head, rest, _ := strings.Cut(strings.TrimLeft(block, "\n"), "\n")
		if !strings.HasPrefix(head, `"`) {
			continue
		}
		s := Stack{Count: 1}
		for line := range strings.Lines(rest) {
			line = strings.TrimSpace(line)
			if state, ok := strings.CutPrefix(line, "java.lang.Thread.State: "); ok {
				s.State = strings.ToLower(state)
			}
			if call, ok := strings.CutPrefix(line, "at "); ok {
				s.Frames = append(s.Frames, javaFrame(call))
			}
		}
		if own := withoutLeading(&s, ofJDK); own || len(s.Frames) > 0 && !strings.Contains(head, " daemon ") {
			all = append(all, s)
		}
	}
	return grouped(all, ofJDK)
}

// javaFrame turns "J.work(J.java:1)" into a function and its place. A frame of the class library
// has the module before the place: "java.lang.Thread.sleep(java.base@17.0.15/Native Method)".
func javaFrame(call string) string {
	function, place, _ := strings.Cut(strings.TrimSuffix(call, ")"), "(")
	return function + " " + place[strings.LastIndexByte(place, '/')+1:]
}

func ofJDK(frame string) bool {
	return slices.ContainsFunc([]string{"java.", "jdk.", "sun.", "com.sun."}, func(p string) bool { return strings.HasPrefix(frame, p) })
}

// pythonFrame is a line of the dump of Python's faulthandler.
var pythonFrame = regexp.MustCompile(`(?m)^  File "(.*)", line (\d+) in (.*)$`)

// pythonThreads parses the dump that Python's faulthandler writes at SIGABRT: a block for each
// thread.
func pythonThreads(dump string) []Stack {
	_, dump, _ = strings.Cut(dump, "Fatal Python error: ")
	var all []Stack
	for block := range strings.SplitSeq(dump, "\n\n") {
		s := Stack{Count: 1}
		for _, m := range pythonFrame.FindAllStringSubmatch(block, -1) {
			s.Frames = append(s.Frames, m[3]+" "+m[1]+":"+m[2])
		}
		if withoutLeading(&s, ofPython); len(s.Frames) > 0 {
			all = append(all, s)
		}
	}
	return grouped(all, ofPython)
}

// ofPython reports whether a frame is in Python's own library, and not in an installed package.
func ofPython(frame string) bool {
	_, file, _ := strings.Cut(frame, " ")
	return strings.Contains(file, "/lib/python3") && !strings.Contains(file, "-packages/")
}

// withoutLeading removes the library's frames from the top of a stack that has frames of the
// program below, and reports whether it has such frames. How a library waits is less useful than
// where the program waits.
func withoutLeading(s *Stack, ofLibrary func(frame string) bool) bool {
	own := slices.IndexFunc(s.Frames, func(frame string) bool { return !ofLibrary(frame) })
	if own < 0 {
		return false
	}
	s.Frames = s.Frames[own:]
	return true
}

// grouped counts equal stacks, and sorts those with the program's own code first.
func grouped(all []Stack, ofLibrary func(frame string) bool) []Stack {
	var kept []Stack
	index := map[string]int{}
	for _, s := range all {
		key := s.State + "\n" + strings.Join(s.Frames, "\n")
		if i, ok := index[key]; ok {
			kept[i].Count++
			continue
		}
		index[key] = len(kept)
		kept = append(kept, s)
	}
	foreign := func(s Stack) int {
		if ofLibrary(s.Frames[0]) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(kept, func(a, b Stack) int {
		return cmp.Or(cmp.Compare(foreign(a), foreign(b)), cmp.Compare(b.Count, a.Count))
	})
	return kept[:min(maxStacks, len(kept))]
}
