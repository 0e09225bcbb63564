package lastcall

import (
	"context"
	"slices"
)

// A Note is a line of a [Report]: what became of work that the group does not count.
type Note struct {
	Name string // whose work it is, such as tasks
	Text string
}

// maxNotes bounds the notes of a group.
const maxNotes = 100

// AddNote adds a note to the Report of the group that ctx belongs to. The report
// counts goroutines and requests; a goroutine that works through a list of its own
// says with a note what became of that, as soon as it knows: it may be abandoned.
// A note takes the place of the one of the same name. A group keeps 100 of them,
// and none that comes after its report. Outside a group nothing is added.
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

// String is the note in one line.
func (n Note) String() string { return escaped(n.Name) + ": " + escaped(n.Text) }
