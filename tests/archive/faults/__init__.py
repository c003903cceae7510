"""The table of faults of the archive, and the tests that hold it, all through the agent's own process.

`test_table` compares it with the marks of the tests.

1   killed before, in, after each step      test_killed_at_every_call_to_globus_and_every_record
                                            test_killed_whenever_a_new_state_shows
        test_killed_at_every_durable_step_ends_with_one_bundle_one_task_one_record
                                            test_killed_whenever_a_new_state_shows
2   killed between stop document and queue  test_killed_between_the_stop_document_and_the_queue
                                            test_run_of_a_killed_session_is_closed_as_aborted_and_archived
3   documents that come twice               test_documents_that_come_twice_are_one_archive
4   two agents start                        test_second_agent_refuses_and_names_the_first
5   disk full while bundling                test_full_while_bundling
        test_full_disk_while_bundling_is_parked_and_goes_on_when_space_returns
6   disk full under the ledger              test_full_under_the_ledger
                                            test_full_under_the_ledger_passes_without_a_restart
                                            test_full_disk_under_the_ledger_loses_nothing
7   source changes while it is bundled      test_a_source_that_changes_while_it_is_bundled
8   source missing or cut short             test_a_source_that_is_not_what_the_documents_say_is_quarantined
9   detector file late                      test_a_late_file_is_waited_for
                                            test_a_file_that_never_comes_is_waited_for_only_so_long
10  accepted, the reply lost                test_the_answer_to_a_submission_is_lost
                                            test_the_answer_to_a_submission_is_lost_with_the_agent
11  id stored, killed before its use        test_killed_between_the_submission_id_and_its_use
12  409 for identical paths                 test_a_conflict_finds_its_own_task
                                            test_a_conflict_with_a_forgotten_task_waits_for_its_end
13  429 storms, 503 for hours               test_a_storm_of_hours_is_waited_out_as_it_asks
                                            test_a_storm_passes
14  network cut while polling               test_the_network_is_cut_while_polling
15  token expired, revoked, client deleted  test_expired_and_revoked_tokens_are_renewed
                                            test_a_deleted_client_parks_until_a_person_has_acted
16  consent, session policy                 test_a_missing_consent_parks_with_the_instruction
                                            test_a_session_policy_parks_with_the_instruction
17  INACTIVE, paused                        test_a_pause_by_an_administrator_is_waited_for
                                            test_expired_credentials_are_waited_for
18  FILE_NOT_FOUND while ACTIVE             test_a_missing_file_is_told_while_the_task_is_active
19  quota exceeded                          test_a_quota_parks_and_nothing_is_deleted
20  deadline passed, cancelled              test_a_task_that_was_ended_is_sent_again_under_a_new_id
21  SUCCEEDED, but wrong                    test_succeeded_with_a_wrong_size_or_files_left_out_is_sent_again
                                            test_succeeded_with_a_wrong_content_is_never_verified
22  destination exists                      test_the_same_bundle_at_the_destination_is_adopted
                                            test_another_file_at_the_destination_is_never_overwritten
23  task history gone                       test_a_forgotten_task_is_verified_by_what_is_there
                                            test_a_forgotten_task_is_asked_for_when_its_files_have_their_names
24  a bit flips on tape                     test_MISSING
25  bundle cut short, manifest lost         test_a_lost_manifest_is_made_again_from_the_tar
                                            test_a_bundle_cut_short_is_never_taken_for_whole
26  restore: staging, killed, disk full     test_MISSING
27  ledger lost                             test_a_lost_ledger_is_rebuilt_from_the_manifests
28  upgrade in flight, clock jump           test_upgraded_in_flight
                                            test_the_clock_jumps
        test_what_waits_for_company_and_an_analysis_goes_on_when_the_clock_was_set_back
"""
