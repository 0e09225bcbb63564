package lastcall

import (
	"context"
	"slices"
)

// A Note is a line of a [Report] about the outcome of work that the group does not count.
type Note struct {
	Name string // the work that it is about, such as tasks
	Text string
}

// maxNotes bounds the notes of a group.
const maxNotes = 100

// AddNote adds a note to the Report of the group that ctx belongs to. The report itself
// counts only goroutines and requests. A goroutine that works through a list of its own
// adds a note with the outcome as soon as it knows it, since the goroutine may be abandoned
// later. A note replaces an earlier one of the same name. A group keeps at most 100 notes and
// ignores those that come after its report. Outside a group AddNote does nothing.
func AddNote(ctx context.Context, name, text string) {
	g := groupOf(ctx)
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if phase(g.phase.Load()) == ended {
		return
	}
	notes := g.report.Notes
	if i := slices.IndexFunc(notes, func(n Note) bool { return n.Name == name }); i >= 0 {
		notes[i].Text = text
	} else if len(notes) < maxNotes {
		g.report.Notes = append(notes, Note{name, text})
	}
}

// String returns the note as one line.
func (n Note) String() string { return escaped(n.Name) + ": " + escaped(n.Text) }
