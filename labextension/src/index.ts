import { ddpPlugin } from './ddp/plugin';
import { ddpToolbarPlugin } from './ddp/toolbar';
import { doctorPlugin } from './doctor/plugin';
import { suggestPlugin } from './doctor/suggestPlugin';
import { launcherPlugin } from './launcher';
import { leasePlugin } from './lease/plugin';
import { resetPlugin } from './reset/plugin';
import { statusPlugin } from './status';

export default [
  leasePlugin,
  statusPlugin,
  doctorPlugin,
  suggestPlugin,
  ddpPlugin,
  ddpToolbarPlugin,
  resetPlugin,
  launcherPlugin
];
