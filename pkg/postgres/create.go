package postgres

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/batch"
	"doorcode/pkg/frontend"
)

// CreateFacts is all that create decides by, read at one moment. What was not found is nil.
type CreateFacts struct {
	Now       time.Time // the database clock
	FrontEnd  frontend.FrontEnd
	Workspace *account.Workspace
	Login     *account.Login
	Budget    *Budget
	// StoppedCountries are those to whose numbers nothing is sent for now.
	StoppedCountries []string
	// Staged says that the workspace or the login may not need codes yet: RolloutFacts tell.
	Staged bool
	// Broken names the table of a workspace or login whose MAC does not fit, or login_budgets when the login has none.
	Broken string
}

// Budget is a login's version and what it spent.
type Budget struct {
	Version  int64
	Failures []time.Time // wrong codes of the last day, oldest first
	Locked   bool
}

// createFactsSQL: $1 front-ends, $2 workspaces, $3 logins. It gives a row for each, in their order.
const createFactsSQL = `
SELECT c.now, ` + frontEndColumns + `,
       w.id, w.name, w.main_email, coalesce(w.owner, ''), w.group_address, w.mac_key, w.mac,
       l.id, coalesce(l.email, ''), coalesce(l.phone, ''), CASE WHEN l.channel <> 'email' THEN l.channel ELSE '' END, l.role, l.locale, l.mac_key, l.mac,
       b.version, b.failures, b.locked_at IS NOT NULL,
       ARRAY(SELECT region FROM sms_countries),
       EXISTS (SELECT FROM rollout_places p WHERE p.workspace = q.workspace)
           OR EXISTS (SELECT FROM rollout_exemptions x WHERE x.workspace = q.workspace AND x.login IN ('', q.login))
  FROM (SELECT clock_timestamp() AS now) AS c
 CROSS JOIN unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS q(front_end, workspace, login, n)
  LEFT JOIN front_ends f ON f.id = q.front_end
  LEFT JOIN workspaces w ON w.id = q.workspace
  LEFT JOIN logins l ON l.workspace = q.workspace AND l.id = q.login
  LEFT JOIN login_budgets b ON b.workspace = q.workspace AND b.login = q.login AND b.removed_at IS NULL
 ORDER BY q.n`

// creating names who asks for a create, and of what.
type creating struct {
	frontEnd, workspace, login string
	own                        bool // doorcode itself asks: there is no front-end
}

// createRow is the row of createFactsSQL; what an outer join did not find is nil.
type createRow struct {
	frontEnd                   frontEndRow
	now                        time.Time
	wID, wName, wMail, wOwner  *string
	wGroup                     *bool
	lID, lMail, lRole, lLocale *string
	lPhone, lChannel           string
	wKey, lKey                 *uint8
	wMAC, lMAC                 []byte
	version                    *int64
	failures                   []time.Time
	locked                     bool
	stopped                    []string
	staged                     bool
}

// fields are the places for the columns of createFactsSQL, in its order.
func (r *createRow) fields() []any {
	fields := append([]any{&r.now}, r.frontEnd.fields()...)
	return append(fields,
		&r.wID, &r.wName, &r.wMail, &r.wOwner, &r.wGroup, &r.wKey, &r.wMAC,
		&r.lID, &r.lMail, &r.lPhone, &r.lChannel, &r.lRole, &r.lLocale, &r.lKey, &r.lMAC,
		&r.version, &r.failures, &r.locked, &r.stopped, &r.staged)
}

// CreateFacts reads them in one statement, uncached; creates that wait together share it. It fails with ErrNoFrontEnd, or
// with an *IntegrityError for the front-end's row; what is wrong with the others is for whoever has proved to be that
// front-end.
func (d *Directory) CreateFacts(ctx context.Context, frontEnd, workspace, login string) (CreateFacts, error) {
	return ask(ctx, d.facts, creating{frontEnd: frontEnd, workspace: workspace, login: login}, single(d.readCreateFacts))
}

// OwnFacts is CreateFacts for a code that doorcode asks for itself: the front-end is frontend.Own, which no row can be. Of
// whoever is no login yet it has the budget alone.
func (d *Directory) OwnFacts(ctx context.Context, workspace, login string) (CreateFacts, error) {
	return ask(ctx, d.facts, creating{workspace: workspace, login: login, own: true}, single(d.readCreateFacts))
}

// readCreateFacts reads those of several creates.
func (d *Directory) readCreateFacts(ctx context.Context, creates []creating) ([]batch.Answer[CreateFacts], error) {
	frontEnds, workspaces, logins := make([]string, len(creates)), make([]string, len(creates)), make([]string, len(creates))
	for i, c := range creates {
		frontEnds[i], workspaces[i], logins[i] = c.frontEnd, c.workspace, c.login
	}
	rows, err := d.db.pool.Query(ctx, createFactsSQL, frontEnds, workspaces, logins)
	if err != nil {
		return nil, fmt.Errorf("read the facts of a create: %w", scrub(err))
	}
	var answers []batch.Answer[CreateFacts]
	for rows.Next() {
		var r createRow
		err = rows.Scan(r.fields()...)
		if err != nil {
			break
		}
		answers = append(answers, r.facts(d, creates[len(answers)]))
	}
	rows.Close()
	err = cmp.Or(err, rows.Err())
	if err != nil {
		return nil, fmt.Errorf("read the facts of a create: %w", scrub(err))
	}
	return answers, nil
}

// facts checks the row of one create.
func (r *createRow) facts(d *Directory, c creating) batch.Answer[CreateFacts] {
	f := CreateFacts{Now: r.now.UTC(), StoppedCountries: r.stopped, Staged: r.staged}
	if c.own {
		f.FrontEnd = frontend.FrontEnd{ID: frontend.Own}
	} else {
		var err error
		f.FrontEnd, err = r.frontEnd.check(d)
		if err != nil {
			return batch.Answer[CreateFacts]{Err: fmt.Errorf("read the facts of a create: %w", err)}
		}
	}
	r.directory(d, c.workspace, &f)
	return batch.Answer[CreateFacts]{Value: f}
}

// directory fills in workspace, login and budget.
func (r *createRow) directory(d *Directory, workspace string, f *CreateFacts) {
	if r.wID == nil {
		return
	}
	w := account.Workspace{ID: *r.wID, Name: *r.wName, MainEmail: *r.wMail, Owner: *r.wOwner, GroupAddress: *r.wGroup}
	f.Workspace = &w
	if !(rowSeal{key: *r.wKey, mac: r.wMAC}).fits(d.rows, TableWorkspaces, workspacePairs(w)) {
		f.Broken = TableWorkspaces
	}
	if r.version != nil {
		f.Budget = &Budget{Version: *r.version, Failures: r.failures, Locked: r.locked}
	}
	if r.lID == nil {
		return
	}
	l := account.Login{
		Workspace: workspace, ID: *r.lID, Email: *r.lMail, Phone: r.lPhone, Channel: r.lChannel,
		Role: account.Role(*r.lRole), Locale: *r.lLocale,
	}
	if f.Broken == "" && !(rowSeal{key: *r.lKey, mac: r.lMAC}).fits(d.rows, TableLogins, loginPairs(l)) {
		f.Broken = TableLogins
	}
	l = withRole(w, l)
	f.Login = &l
	if r.version == nil && f.Broken == "" {
		f.Broken = TableBudgets
	}
}
