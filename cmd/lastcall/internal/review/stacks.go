package review

import (
	"fmt"
	"strings"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Bounds on the stacks that are shown: a log is read from the top, and the JSON report has all
// stacks.
const (
	shownStacks = 5
	shownFrames = 4
)

// stacks writes where a program that had not ended was.
func (p Page) stacks(b *strings.Builder, stacks []rehearse.Stack) {
	if len(stacks) == 0 {
		return
	}
	indent := strings.Repeat(" ", whatColumn)
	b.WriteString(indent + "where it stood when its time was over:\n")
	for i, one := range stacks {
		if i == shownStacks {
			fmt.Fprintf(b, "%s  and in %d more places: --json has them\n", indent, len(stacks)-i)
			break
		}
		p.block(b, indent+"  ", indent+"    ", stackTitle(one))
		for _, frame := range one.Frames[:min(shownFrames, len(one.Frames))] {
			p.block(b, indent+"    ", indent+"      ", shortFrame(frame))
		}
	}
}

// shortFrame returns a function with the last two names of its file's path.
func shortFrame(s string) string {
	function, file, ok := strings.Cut(s, " ")
	names := strings.Split(file, "/")
	if !ok || len(names) <= 2 {
		return s
	}
	return function + " " + strings.Join(names[len(names)-2:], "/")
}

// stackTitle describes a stack in a line, without its frames.
func stackTitle(s rehearse.Stack) string {
	text := fmt.Sprintf("%d x", s.Count)
	if s.State != "" {
		text += " " + s.State
	}
	if s.CreatedBy != "" {
		text += ", started by " + s.CreatedBy
	}
	return text
}
