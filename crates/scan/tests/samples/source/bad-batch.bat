@echo off
rem prepare
start true
