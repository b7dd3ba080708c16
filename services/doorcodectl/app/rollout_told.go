package app

import (
	"context"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// toldShown is how many notices of a workspace are shown.
const toldShown = 50

// showPostponement says what the owner of a workspace was promised, if anything.
func (c command) showPostponement(p rollout.Place) {
	if p.Postponement == nil {
		return
	}
	dated := p.Dated()
	c.printf("its owner %s moved the date by a week on %s: grace %s, enforced %s\n",
		plain(p.Postponement.Login), stamp(p.Postponement.At), stamp(dated.GraceAt), stamp(dated.EnforceAt))
}

// showTold lists what the people who run a workspace were told, the newest first.
func (c command) showTold(ctx context.Context, d *postgres.Directory, workspace string) error {
	all, err := d.NoticesOf(ctx, workspace, toldShown)
	if err != nil {
		return err
	}
	for _, t := range all {
		c.printf("login %s was told on %s: %s, %s\n", plain(t.Login), stamp(t.OrderedAt), plain(string(t.Said.Notice)), stamp(t.Said.Date))
	}
	return nil
}

// previewNotices counts the mails that the notices of a wave are, and sends none.
func (c command) previewNotices(ctx context.Context, args []string) error {
	set := flags("rollout preview-notices")
	wave := set.String("wave", "", "the wave")
	_, err := parse(set, args, 0)
	if err == nil {
		err = checkID(set, "wave", *wave)
	}
	if err != nil {
		return err
	}
	return c.rollingOut(ctx, func(d *postgres.Directory) error {
		m, err := d.PreviewMailing(ctx, *wave)
		if err != nil {
			return err
		}
		c.printf("%s: %d workspaces; each of these would send:\n", m.Wave.ID, m.Workspaces)
		for _, n := range rollout.Notices() {
			people, mails := m.People, m.Mails
			if n == rollout.NoticeReminded {
				people, mails = m.Reminded, m.Reminders
			}
			c.printf("%s: %d mails to %d people\n", n, mails, people)
		}
		if m.Silent > 0 {
			c.printf("nobody can be told in %d workspaces: no owner or administrator has an address there\n", m.Silent)
		}
		return nil
	})
}
