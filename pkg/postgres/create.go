package postgres

import (
	"context"
	"fmt"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
)

// CreateFacts is all that create decides by, read at one moment. What was not found is nil.
type CreateFacts struct {
	Now       time.Time // the database clock
	FrontEnd  frontend.FrontEnd
	Workspace *account.Workspace
	Login     *account.Login
	Budget    *Budget
	// Labels are those of the workspace's live challenges, as far as they are recorded.
	Labels []string
	// StoppedCountries are those to whose numbers nothing is sent for now.
	StoppedCountries []string
	// Broken names the table of a workspace or login whose MAC does not fit, or login_budgets when the login has none.
	Broken string
}

// Budget is a login's version and what it spent.
type Budget struct {
	Version  int64
	Failures []time.Time // wrong codes of the last day, oldest first
	Locked   bool
}

// maxLabels bounds how many live labels are read; there are almost six thousand.
const maxLabels = 500

// createFactsSQL: $1 front-end, $2 workspace, $3 login. It always gives one row.
const createFactsSQL = `
SELECT c.now, ` + frontEndColumns + `,
       w.id, w.name, w.main_email, coalesce(w.owner, ''), w.group_address, w.mac_key, w.mac,
       l.id, coalesce(l.email, ''), coalesce(l.phone, ''), CASE WHEN l.channel <> 'email' THEN l.channel ELSE '' END, l.role, l.locale, l.mac_key, l.mac,
       b.version, b.failures, b.locked_at IS NOT NULL,
       ARRAY(SELECT label FROM challenges
              WHERE workspace = $2 AND state = 'pending' AND expires_at > c.now
              ORDER BY login <> $3 LIMIT $4),
       ARRAY(SELECT region FROM sms_countries)
  FROM (SELECT clock_timestamp() AS now) AS c
  LEFT JOIN front_ends f ON f.id = $1
  LEFT JOIN workspaces w ON w.id = $2
  LEFT JOIN logins l ON l.workspace = $2 AND l.id = $3
  LEFT JOIN login_budgets b ON b.workspace = $2 AND b.login = $3 AND b.removed_at IS NULL`

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
	labels, stopped            []string
}

// fields are the places for the columns of createFactsSQL, in its order.
func (r *createRow) fields() []any {
	fields := append([]any{&r.now}, r.frontEnd.fields()...)
	return append(fields,
		&r.wID, &r.wName, &r.wMail, &r.wOwner, &r.wGroup, &r.wKey, &r.wMAC,
		&r.lID, &r.lMail, &r.lPhone, &r.lChannel, &r.lRole, &r.lLocale, &r.lKey, &r.lMAC,
		&r.version, &r.failures, &r.locked, &r.labels, &r.stopped)
}

// CreateFacts reads them in one statement, uncached. It fails with ErrNoFrontEnd, or with an *IntegrityError for the
// front-end's row; what is wrong with the others is for whoever has proved to be that front-end.
func (d *Directory) CreateFacts(ctx context.Context, frontEnd, workspace, login string) (CreateFacts, error) {
	var r createRow
	err := d.db.pool.QueryRow(ctx, createFactsSQL, frontEnd, workspace, login, maxLabels).Scan(r.fields()...)
	if err != nil {
		return CreateFacts{}, fmt.Errorf("read the facts of a create: %w", scrub(err))
	}
	f := CreateFacts{Now: r.now.UTC(), Labels: r.labels, StoppedCountries: r.stopped}
	f.FrontEnd, err = r.frontEnd.check(d)
	if err != nil {
		return CreateFacts{}, fmt.Errorf("read the facts of a create: %w", err)
	}
	r.directory(d, workspace, &f)
	return f, nil
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
	if r.version == nil {
		if f.Broken == "" {
			f.Broken = TableBudgets
		}
		return
	}
	f.Budget = &Budget{Version: *r.version, Failures: r.failures, Locked: r.locked}
}
