package pgstore

// queries are the statements, with the schema's name put in.
type queries struct {
	add, claim, look, promote                  string
	finish, checkpoint, late                   string
	find, held, history                        string
	incarnate, register, beat, lost, remove    string
	workers, lockRow, markDead, marked, forget string
}

func (s *Store) makeQueries() queries {
	return queries{
		add: s.sql(addSQL), claim: s.sql(claimSQL), look: s.sql(lookSQL), promote: s.sql(promoteSQL),
		finish: s.sql(finishSQL), checkpoint: s.sql(checkpointSQL), late: s.sql(lateSQL),
		find: s.sql(findSQL), held: s.sql(heldSQL), history: s.sql(historySQL),
		incarnate: s.sql(incarnateSQL), register: s.sql(registerSQL), beat: s.sql(beatSQL), lost: s.sql(lostSQL), remove: s.sql(removeSQL),
		workers: s.sql(workersSQL), lockRow: s.sql(lockRowSQL), markDead: s.sql(markDeadSQL), marked: s.sql(markedSQL), forget: s.sql(forgetSQL),
	}
}
